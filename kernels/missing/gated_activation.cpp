#include "ops/dispatch.h"
#include "ops/gated_activation_kernels.h"

namespace gda::cuda {

void swiglu_forward(const Context& /*context*/, const Tensor& /*gate*/, const Tensor& /*up*/,
                    const Tensor& /*out*/, const ColumnMask& /*mask*/) {
  ops::fail_missing("swiglu_forward", "GDA_CUDA");
}

void swiglu_backward(const Context& /*context*/, const Tensor& /*gate*/, const Tensor& /*up*/,
                     const Tensor& /*dout*/, const Tensor& /*dgate*/, const Tensor& /*dup*/,
                     const ColumnMask& /*mask*/) {
  ops::fail_missing("swiglu_backward", "GDA_CUDA");
}

void poly_norm_forward(const Context& /*context*/, const Tensor& /*gate*/, const Tensor& /*up*/,
                       const Tensor& /*weight*/, const Tensor& /*bias*/, const Tensor& /*out*/,
                       const ColumnMask& /*mask*/, double /*eps*/) {
  ops::fail_missing("poly_norm_forward", "GDA_CUDA");
}

void poly_norm_backward(const Context& /*context*/, const Tensor& /*gate*/, const Tensor& /*up*/,
                        const Tensor& /*weight*/, const Tensor& /*bias*/, const Tensor& /*dout*/,
                        const Tensor& /*dgate*/, const Tensor& /*dup*/, const Tensor& /*dweight*/,
                        const Tensor& /*dbias*/, const ColumnMask& /*mask*/, double /*eps*/) {
  ops::fail_missing("poly_norm_backward", "GDA_CUDA");
}

}  // namespace gda::cuda
