// What each backend implements of gda/ops/gated_activation.h. Arguments are checked by the callers.
#pragma once

#include "gda/ops/gated_activation.h"

namespace gda::cpu {

void swiglu_forward(const Context& context, const Tensor& gate, const Tensor& up, const Tensor& out,
                    const ColumnMask& mask);
void swiglu_backward(const Context& context, const Tensor& gate, const Tensor& up,
                     const Tensor& dout, const Tensor& dgate, const Tensor& dup,
                     const ColumnMask& mask);
void poly_norm_forward(const Context& context, const Tensor& gate, const Tensor& up,
                       const Tensor& weight, const Tensor& bias, const Tensor& out,
                       const ColumnMask& mask, double eps);
void poly_norm_backward(const Context& context, const Tensor& gate, const Tensor& up,
                        const Tensor& weight, const Tensor& bias, const Tensor& dout,
                        const Tensor& dgate, const Tensor& dup, const Tensor& dweight,
                        const Tensor& dbias, const ColumnMask& mask, double eps);

}  // namespace gda::cpu

namespace gda::cuda {

void swiglu_forward(const Context& context, const Tensor& gate, const Tensor& up, const Tensor& out,
                    const ColumnMask& mask);
void swiglu_backward(const Context& context, const Tensor& gate, const Tensor& up,
                     const Tensor& dout, const Tensor& dgate, const Tensor& dup,
                     const ColumnMask& mask);
void poly_norm_forward(const Context& context, const Tensor& gate, const Tensor& up,
                       const Tensor& weight, const Tensor& bias, const Tensor& out,
                       const ColumnMask& mask, double eps);
void poly_norm_backward(const Context& context, const Tensor& gate, const Tensor& up,
                        const Tensor& weight, const Tensor& bias, const Tensor& dout,
                        const Tensor& dgate, const Tensor& dup, const Tensor& dweight,
                        const Tensor& dbias, const ColumnMask& mask, double eps);

}  // namespace gda::cuda
