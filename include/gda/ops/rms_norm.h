// RMSNorm (Zhang and Sennrich 2019): y = w * x * rho, rho = (mean(x^2) + eps)^(-1/2) over the last
// dimension.
#pragma once

#include "gda/ops/context.h"

namespace gda {

// x, y [N, D] compute; weight [D] and rho [N] accumulate. Saves rho for the backward pass.
void rms_norm_forward(const Context& context, const Tensor& x, const Tensor& weight, double eps,
                      const Tensor& y, const Tensor& rho);

// residual += branch, then y = RMSNorm(residual): the junction of two sublayers in one pass.
// residual (updated), branch, y [N, D] compute; weight [D], rho [N] accumulate.
void add_rms_norm_forward(const Context& context, const Tensor& residual, const Tensor& branch,
                          const Tensor& weight, double eps, const Tensor& y, const Tensor& rho);

// With n = D and u = w * dy:
//   dx = rho * u - rho^3 * x * <u, x> / n          (+ residual_gradient, if given)
//   dw += sum over rows of dy * x * rho
// residual_gradient may be empty; it may be the same memory as dx.
void rms_norm_backward(const Context& context, const Tensor& dy, const Tensor& x,
                       const Tensor& weight, const Tensor& rho, const Tensor& residual_gradient,
                       const Tensor& dx, const Tensor& dweight);

}  // namespace gda
