// Backends of gda/ops/matmul.h. Arguments are checked and no extent is 0.
#pragma once

#include "gda/ops/matmul.h"

namespace gda::cpu {
void matmul(const Context& context, const Tensor& a, const Tensor& b, const Tensor& out,
            const MatmulOptions& options);
bool bf16_matmul_is_native();
}  // namespace gda::cpu

namespace gda::cuda {
void matmul(const Context& context, const Tensor& a, const Tensor& b, const Tensor& out,
            const MatmulOptions& options);
bool bf16_matmul_is_native();
}  // namespace gda::cuda
