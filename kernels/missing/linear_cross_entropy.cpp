#include "ops/dispatch.h"
#include "ops/linear_cross_entropy_kernels.h"

namespace gda::cuda {

void linear_cross_entropy_forward(const Context&, const Tensor&, const Tensor&, const Tensor&,
                                  const Tensor&, LinearCrossEntropyOptions) {
  ops::fail_missing("linear_cross_entropy_forward", "GDA_CUDA");
}

void linear_cross_entropy_forward_backward(const Context&, const Tensor&, const Tensor&,
                                           const Tensor&, double, const Tensor&, const Tensor&,
                                           const Tensor&, LinearCrossEntropyOptions) {
  ops::fail_missing("linear_cross_entropy_forward_backward", "GDA_CUDA");
}

}  // namespace gda::cuda
