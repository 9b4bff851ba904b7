#include "ops/dispatch.h"
#include "ops/matmul_kernels.h"

namespace gda::cuda {

void matmul(const Context&, const Tensor&, const Tensor&, const Tensor&, const MatmulOptions&) {
  ops::fail_missing("matmul", "GDA_CUDA");
}

bool bf16_matmul_is_native() {
  ops::fail_missing("bf16_matmul_is_native", "GDA_CUDA");
}

}  // namespace gda::cuda
