// Attention in f64, straight from the formula: what every other implementation is judged by.
#pragma once

#include "gda/ops/attention.h"

namespace gda::cpu::reference {

void attention_forward(const Context& context, const AttentionShape& shape, const Tensor& q,
                       const Tensor& k, const Tensor& v, const Tensor& first_key, const Tensor& out,
                       const Tensor& lse);
void attention_backward(const Context& context, const AttentionShape& shape, const Tensor& q,
                        const Tensor& k, const Tensor& v, const Tensor& first_key,
                        const Tensor& out, const Tensor& lse, const Tensor& dout, const Tensor& dq,
                        const Tensor& dk, const Tensor& dv, const Tensor& delta);

}  // namespace gda::cpu::reference
