// Scaled dot-product attention with shared keys and values, causal and document-masked. The one
// kernel under softmax, differential and grouped differential attention: the types differ in which
// key and value head a query head reads, and in how the outputs are combined (differential.h).
//
//   out_h = softmax(q_h k_{key_head(h)}^T / sqrt(d) + mask) v_{value_head(h)}
//
// T x T is never stored: one pass over keys with a running maximum and sum (Milakov and Gimelshein
// 2018; FlashAttention, Dao et al. 2022). Backward recomputes the weights from the saved
// log-sum-exp.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/ops/context.h"

namespace gda {

struct AttentionShape {
  std::int64_t batch = 0;         // B
  std::int64_t query_length = 0;  // Tq: rows of q are b * Tq + i
  std::int64_t key_length = 0;    // Tk: rows of k and v are b * Tk + j
  // Query i stands at key position i + query_offset and sees keys j <= i + query_offset.
  std::int64_t query_offset = 0;
  std::int64_t head_dim = 0;    // d
  std::int64_t value_dim = 0;   // d_v: d, or 2d for differential attention
  std::vector<int> key_head;    // per query head: the key head that it reads
  std::vector<int> value_head;  // per query head: the value head that it reads
  std::int64_t key_heads = 0;
  std::int64_t value_heads = 0;

  std::int64_t query_heads() const { return static_cast<std::int64_t>(key_head.size()); }
};

// q [B*Tq, Hq*d], k [B*Tk, Hk*d], v [B*Tk, Hv*d_v] compute, row strides allowed;
// out [B*Tq, Hq*d_v] compute; lse [B*Tq, Hq] accumulate: log sum exp of the scaled scores.
// first_key [B*Tq] i32 or empty: query i sees no key below first_key[b*Tq + i], the start of its
// document inside the sequence (0 <= first_key <= i + query_offset). Keys after the last query are
// not read. A NaN in k or v reaches every query that sees it, and may reach hidden neighbours.
//
// max_logit [Hq] accumulate, or empty: it is not wanted then, which costs nothing and gives the
// same out and lse. Each head's element is raised to the head's largest scaled score q k / sqrt(d)
// over all queries of the call and the keys that they see; it is never lowered, so that it holds
// the largest of several calls. Fill it with -infinity before the first. It becomes NaN, and stays
// so, where a score was NaN or +infinity. Takes scratch memory of lse's size. For QK-clip (Kimi K2,
// arXiv 2507.20534), which scales the weights of heads whose logits have grown too large.
void attention_forward(const Context& context, const AttentionShape& shape, const Tensor& q,
                       const Tensor& k, const Tensor& v, const Tensor& first_key, const Tensor& out,
                       const Tensor& lse, const Tensor& max_logit = {});

// With P the attention weights and delta_i = <dout_i, out_i>:
//   dv = P^T dout,  dS = P * (dout v^T - delta),  dq = dS k / sqrt(d),  dk = dS^T q / sqrt(d),
// dk and dv summed over the query heads that share them. dq, dk, dv overwrite, as q, k, v in shape.
// delta [B*Tq, Hq] accumulate, or empty: it is computed then, which is all that out is read for.
void attention_backward(const Context& context, const AttentionShape& shape, const Tensor& q,
                        const Tensor& k, const Tensor& v, const Tensor& first_key,
                        const Tensor& out, const Tensor& lse, const Tensor& dout, const Tensor& dq,
                        const Tensor& dk, const Tensor& dv, const Tensor& delta = {});

}  // namespace gda
