#include "ops/dispatch.h"
#include "ops/rope_kernels.h"

namespace gda::cuda {

void rope_forward(const Context& /*context*/, const Tensor& /*x*/, const Tensor& /*position*/,
                  const Tensor& /*table*/) {
  ops::fail_missing("rope_forward", "GDA_CUDA");
}

void rope_backward(const Context& /*context*/, const Tensor& /*dx*/, const Tensor& /*position*/,
                   const Tensor& /*table*/) {
  ops::fail_missing("rope_backward", "GDA_CUDA");
}

}  // namespace gda::cuda
