// Products of bf16 matrices on processors that have instructions for them.
#pragma once

#include "gda/core/tensor.h"
#include "gda/ops/matmul.h"

namespace gda::cpu {

// As gda::matmul, for bf16 operands and bf16 or f32 out; no extent is 0, and
// bf16_matmul_is_native().
void bf16_matmul(const Tensor& a, const Tensor& b, const Tensor& out, const MatmulOptions& options);

}  // namespace gda::cpu
