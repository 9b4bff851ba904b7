#include "ops/dispatch.h"
#include "ops/rms_norm_kernels.h"

namespace gda::cuda {

void rms_norm_forward(const Context& /*context*/, const Tensor& /*x*/, const Tensor& /*weight*/,
                      double /*eps*/, const Tensor& /*y*/, const Tensor& /*rho*/,
                      const ColumnMask& /*mask*/) {
  ops::fail_missing("rms_norm_forward", "GDA_CUDA");
}

void rms_norm_backward(const Context& /*context*/, const Tensor& /*dy*/, const Tensor& /*x*/,
                       const Tensor& /*weight*/, const Tensor& /*rho*/,
                       const Tensor& /*residual_gradient*/, const Tensor& /*dx*/,
                       const Tensor& /*dweight*/, const ColumnMask& /*mask*/) {
  ops::fail_missing("rms_norm_backward", "GDA_CUDA");
}

}  // namespace gda::cuda
