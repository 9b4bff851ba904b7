// What each backend implements of gda/ops/gated_activation.h. Arguments are checked by the callers.
#pragma once

#include "gda/ops/gated_activation.h"

namespace gda::cpu {

void swiglu_forward(const Context& context, const Tensor& gate, const Tensor& up,
                    const Tensor& out);
void swiglu_backward(const Context& context, const Tensor& gate, const Tensor& up,
                     const Tensor& dout, const Tensor& dgate, const Tensor& dup);
void poly_norm_forward(const Context& context, const Tensor& gate, const Tensor& up,
                       const Tensor& weight, const Tensor& bias, const Tensor& out);
void poly_norm_backward(const Context& context, const Tensor& gate, const Tensor& up,
                        const Tensor& weight, const Tensor& bias, const Tensor& dout,
                        const Tensor& dgate, const Tensor& dup, const Tensor& dweight,
                        const Tensor& dbias);

}  // namespace gda::cpu

namespace gda::cuda {

void swiglu_forward(const Context& context, const Tensor& gate, const Tensor& up,
                    const Tensor& out);
void swiglu_backward(const Context& context, const Tensor& gate, const Tensor& up,
                     const Tensor& dout, const Tensor& dgate, const Tensor& dup);
void poly_norm_forward(const Context& context, const Tensor& gate, const Tensor& up,
                       const Tensor& weight, const Tensor& bias, const Tensor& out);
void poly_norm_backward(const Context& context, const Tensor& gate, const Tensor& up,
                        const Tensor& weight, const Tensor& bias, const Tensor& dout,
                        const Tensor& dgate, const Tensor& dup, const Tensor& dweight,
                        const Tensor& dbias);

}  // namespace gda::cuda
