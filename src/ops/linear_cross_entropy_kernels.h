// Backends of gda/ops/linear_cross_entropy.h. Types and shapes are checked, and no extent is 0;
// targets are checked by the backend.
#pragma once

#include "gda/ops/linear_cross_entropy.h"

namespace gda::cpu {
void linear_cross_entropy_forward(const Context& context, const Tensor& x, const Tensor& weight,
                                  const Tensor& target, const Tensor& loss,
                                  LinearCrossEntropyOptions options);
void linear_cross_entropy_forward_backward(const Context& context, const Tensor& x,
                                           const Tensor& weight, const Tensor& target, double scale,
                                           const Tensor& loss, const Tensor& dx,
                                           const Tensor& dweight,
                                           LinearCrossEntropyOptions options);
}  // namespace gda::cpu

namespace gda::cuda {
void linear_cross_entropy_forward(const Context& context, const Tensor& x, const Tensor& weight,
                                  const Tensor& target, const Tensor& loss,
                                  LinearCrossEntropyOptions options);
void linear_cross_entropy_forward_backward(const Context& context, const Tensor& x,
                                           const Tensor& weight, const Tensor& target, double scale,
                                           const Tensor& loss, const Tensor& dx,
                                           const Tensor& dweight,
                                           LinearCrossEntropyOptions options);
}  // namespace gda::cuda
