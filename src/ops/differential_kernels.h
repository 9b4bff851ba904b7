// What each backend implements of gda/ops/differential.h. Arguments are checked by the callers.
#pragma once

#include "gda/ops/differential.h"

namespace gda::cpu {

void lambda_forward(const Context& context, const LambdaVectors& vectors, double lambda_init,
                    const Tensor& lambda);
void lambda_backward(const Context& context, const LambdaVectors& vectors, const Tensor& dlambda,
                     const LambdaVectors& dvectors);
void differential_forward(const Context& context, const DifferentialShape& shape,
                          const Tensor& attended, const Tensor& lambda, const Tensor& subln,
                          const Tensor& y, const Tensor& rho);
void differential_backward(const Context& context, const DifferentialShape& shape,
                           const Tensor& attended, const Tensor& lambda, const Tensor& subln,
                           const Tensor& rho, const Tensor& dy, const Tensor& dattended,
                           const Tensor& dsubln, const Tensor& dlambda, const Tensor& delta);
void gated_difference_forward(const Context& context, const Tensor& attended, const Tensor& gate,
                              const Tensor& out);
void gated_difference_backward(const Context& context, const Tensor& attended, const Tensor& gate,
                               const Tensor& dout, const Tensor& dattended, const Tensor& dgate);

}  // namespace gda::cpu

namespace gda::cuda {

void lambda_forward(const Context& context, const LambdaVectors& vectors, double lambda_init,
                    const Tensor& lambda);
void lambda_backward(const Context& context, const LambdaVectors& vectors, const Tensor& dlambda,
                     const LambdaVectors& dvectors);
void differential_forward(const Context& context, const DifferentialShape& shape,
                          const Tensor& attended, const Tensor& lambda, const Tensor& subln,
                          const Tensor& y, const Tensor& rho);
void differential_backward(const Context& context, const DifferentialShape& shape,
                           const Tensor& attended, const Tensor& lambda, const Tensor& subln,
                           const Tensor& rho, const Tensor& dy, const Tensor& dattended,
                           const Tensor& dsubln, const Tensor& dlambda, const Tensor& delta);
void gated_difference_forward(const Context& context, const Tensor& attended, const Tensor& gate,
                              const Tensor& out);
void gated_difference_backward(const Context& context, const Tensor& attended, const Tensor& gate,
                               const Tensor& dout, const Tensor& dattended, const Tensor& dgate);

}  // namespace gda::cuda
