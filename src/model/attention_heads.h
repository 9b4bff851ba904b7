// Attention from given queries, keys and values, and the combination of its heads.
#pragma once

#include <cstdint>
#include <string>

#include "gda/model/attention_shape.h"
#include "gda/model/parameters.h"
#include "gda/ops/attention.h"
#include "gda/ops/differential.h"

namespace gda {

struct AttentionActivations {
  // Of the tokens and heads that attention has here, R rows (AttentionBlock).
  Tensor qkv;       // [R, q + k + v (+ gate)] after RoPE
  Tensor attended;  // [R, query heads * d_v]
  Tensor lse;       // [R, query heads]
  Tensor lambda;    // [1]
  Tensor rho;       // [R, signal heads], of subln
  // [N, out_size], the input of o_proj; cheap to compute again from `attended`.
  Tensor mixed;
};

// Some of a layer's heads, in whole K/V groups.
class AttentionHeads {
 public:
  AttentionHeads() = default;
  // `heads`: their counts.
  AttentionHeads(const ModelConfig& config, const AttentionConfig& heads,
                 const ParameterStore& parameters, std::int64_t layer);

  // Of the columns of o_proj's input [out_size], from now on; empty: none.
  void set_mask(const Tensor& mask) { mask_ = mask; }

  const AttentionConfig& config() const { return config_; }
  std::int64_t gate_size() const { return gate_size_; }
  std::int64_t qkv_size() const {
    return config_.q_size() + config_.k_size() + config_.v_size() + gate_size_;
  }
  // Heads, widths and head maps; batch and lengths are the caller's.
  const AttentionShape& shape() const { return shape_; }
  bool has_lambda() const { return config_.is_differential(); }
  // Whether what combine() gives is other than `attended`: softmax heads are not combined, but a
  // mask needs a copy, since backward reads them unmasked.
  bool combines() const { return config_.type != AttentionType::softmax || mask_; }

  // Takes memory for all activations but `mixed`.
  void allocate(Arena& arena, DType compute, std::int64_t rows, AttentionActivations& saved) const;
  // mixed [R, out_size]: the combined and masked heads.
  void combine(const Context& context, const AttentionActivations& saved,
               const Tensor& mixed) const;
  // From dmixed, which it may change: that of `attended`, which is `dmixed` itself where heads are
  // not combined, and the gate's in dqkv. delta: see attention_backward; may be empty.
  struct Gradient {
    Tensor attended, delta;
  };
  Gradient backward(const Context& context, const AttentionActivations& saved, const Tensor& dmixed,
                    const Tensor& dqkv) const;

  // [1].
  void lambda(const Context& context, const Tensor& out) const;

 private:
  AttentionConfig config_;
  std::int64_t gate_size_ = 0;
  AttentionShape shape_;
  DifferentialShape differential_;
  Weight subln_;
  LambdaVectors lambda_, lambda_gradient_;
  Tensor mask_;
};

}  // namespace gda
