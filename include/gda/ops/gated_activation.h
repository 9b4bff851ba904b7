// The gated feed-forward product: out = activation(gate) * up.
#pragma once

#include "gda/ops/context.h"

namespace gda {

// SwiGLU (Shazeer 2020): activation(x) = x * sigmoid(x).
// gate, up, out [N, F] compute; row strides allowed on gate and up (halves of one fused row) and on
// their gradients.
void swiglu_forward(const Context& context, const Tensor& gate, const Tensor& up,
                    const Tensor& out);
void swiglu_backward(const Context& context, const Tensor& gate, const Tensor& up,
                     const Tensor& dout, const Tensor& dgate, const Tensor& dup);

// PolyNorm (Motif, arXiv 2508.09148): activation(x) = w0 n(x^3) + w1 n(x^2) + w2 n(x) + b with
// n(z) = z / sqrt(mean_F(z^2) + 1e-6). Powers and sums in the accumulate type.
// weight [3] and bias [1] accumulate; dweight and dbias accumulate.
// With r_k = (mean x^{2k} + eps)^(-1/2) and g = dL/dactivation:
//   dx_j = sum_k w_k k [g_j x_j^{k-1} r_k - r_k^3 x_j^{2k-1} (sum_i g_i x_i^k) / F]
void poly_norm_forward(const Context& context, const Tensor& gate, const Tensor& up,
                       const Tensor& weight, const Tensor& bias, const Tensor& out);
void poly_norm_backward(const Context& context, const Tensor& gate, const Tensor& up,
                        const Tensor& weight, const Tensor& bias, const Tensor& dout,
                        const Tensor& dgate, const Tensor& dup, const Tensor& dweight,
                        const Tensor& dbias);

}  // namespace gda
