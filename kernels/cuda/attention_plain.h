// Attention for every type and width: a thread takes a query (or a key), in plain loops. What
// tensor cores take runs in attention_tiled.h instead.
#pragma once

#include "gda/ops/attention.h"

namespace gda::cuda::plain {

void attention_forward(const Context& context, const AttentionShape& shape, const Tensor& q,
                       const Tensor& k, const Tensor& v, const Tensor& first_key, const Tensor& out,
                       const Tensor& lse);
// delta [B*Tq, Hq] accumulate: <dout, out> of each head.
void attention_backward(const Context& context, const AttentionShape& shape, const Tensor& q,
                        const Tensor& k, const Tensor& v, const Tensor& first_key,
                        const Tensor& lse, const Tensor& dout, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv);

}  // namespace gda::cuda::plain
