// What each backend implements of gda/ops/rms_norm.h. Arguments are checked by the callers.
#pragma once

#include "gda/ops/rms_norm.h"

namespace gda::cpu {

void rms_norm_forward(const Context& context, const Tensor& x, const Tensor& weight, double eps,
                      const Tensor& y, const Tensor& rho, const ColumnMask& mask);
void rms_norm_backward(const Context& context, const Tensor& dy, const Tensor& x,
                       const Tensor& weight, const Tensor& rho, const Tensor& residual_gradient,
                       const Tensor& dx, const Tensor& dweight, const ColumnMask& mask);

}  // namespace gda::cpu

namespace gda::cuda {

void rms_norm_forward(const Context& context, const Tensor& x, const Tensor& weight, double eps,
                      const Tensor& y, const Tensor& rho, const ColumnMask& mask);
void rms_norm_backward(const Context& context, const Tensor& dy, const Tensor& x,
                       const Tensor& weight, const Tensor& rho, const Tensor& residual_gradient,
                       const Tensor& dx, const Tensor& dweight, const ColumnMask& mask);

}  // namespace gda::cuda
