#include "ops/differential_kernels.h"
#include "ops/dispatch.h"

namespace gda::cuda {

void lambda_forward(const Context& /*context*/, const LambdaVectors& /*vectors*/,
                    double /*lambda_init*/, const Tensor& /*lambda*/) {
  ops::fail_missing("lambda_forward", "GDA_CUDA");
}

void lambda_backward(const Context& /*context*/, const LambdaVectors& /*vectors*/,
                     const Tensor& /*dlambda*/, const LambdaVectors& /*dvectors*/) {
  ops::fail_missing("lambda_backward", "GDA_CUDA");
}

void differential_forward(const Context& /*context*/, const DifferentialShape& /*shape*/,
                          const Tensor& /*attended*/, const Tensor& /*lambda*/,
                          const Tensor& /*subln*/, const Tensor& /*y*/, const Tensor& /*rho*/) {
  ops::fail_missing("differential_forward", "GDA_CUDA");
}

void differential_backward(const Context& /*context*/, const DifferentialShape& /*shape*/,
                           const Tensor& /*attended*/, const Tensor& /*lambda*/,
                           const Tensor& /*subln*/, const Tensor& /*rho*/, const Tensor& /*dy*/,
                           const Tensor& /*dattended*/, const Tensor& /*dsubln*/,
                           const Tensor& /*dlambda*/, const Tensor& /*delta*/) {
  ops::fail_missing("differential_backward", "GDA_CUDA");
}

void gated_difference_forward(const Context& /*context*/, const Tensor& /*attended*/,
                              const Tensor& /*gate*/, const Tensor& /*out*/) {
  ops::fail_missing("gated_difference_forward", "GDA_CUDA");
}

void gated_difference_backward(const Context& /*context*/, const Tensor& /*attended*/,
                               const Tensor& /*gate*/, const Tensor& /*dout*/,
                               const Tensor& /*dattended*/, const Tensor& /*dgate*/) {
  ops::fail_missing("gated_difference_backward", "GDA_CUDA");
}

}  // namespace gda::cuda
