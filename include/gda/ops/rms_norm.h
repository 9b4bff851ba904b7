// RMSNorm (Zhang and Sennrich 2019): y = w * x * rho, rho = (mean(x^2) + eps)^(-1/2) over the last
// dimension. With a mask c of sum S (column_mask.h), growth's masked form, in which columns with
// c_j = 0 do not exist:
//   y_j = c_j w_j x_j rho,  rho = (sum_j c_j x_j^2 / S + eps)^(-1/2)
#pragma once

#include "gda/ops/column_mask.h"
#include "gda/ops/context.h"

namespace gda {

// x, y [N, D] compute; weight [D] and rho [N] accumulate. Saves rho for the backward pass.
void rms_norm_forward(const Context& context, const Tensor& x, const Tensor& weight, double eps,
                      const Tensor& y, const Tensor& rho, const ColumnMask& mask = {});

// With u = w * dy, and without a mask c = 1 and S = D:
//   dx_j = c_j [rho u_j - rho^3 x_j * (sum_i c_i u_i x_i) / S]          (+ residual_gradient_j)
//   dw_j += sum over rows of c_j dy_j x_j rho
// residual_gradient may be empty; it may be the same memory as dx.
void rms_norm_backward(const Context& context, const Tensor& dy, const Tensor& x,
                       const Tensor& weight, const Tensor& rho, const Tensor& residual_gradient,
                       const Tensor& dx, const Tensor& dweight, const ColumnMask& mask = {});

}  // namespace gda
