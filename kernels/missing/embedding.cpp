#include "ops/embedding_kernels.h"

#include "ops/dispatch.h"

namespace gda::cuda {

void embedding_forward(const Context&, const Tensor&, const Tensor&, const Tensor&) {
  ops::fail_missing("embedding_forward", "GDA_CUDA");
}

void embedding_backward(const Context&, const Tensor&, const Tensor&, const Tensor&) {
  ops::fail_missing("embedding_backward", "GDA_CUDA");
}

}  // namespace gda::cuda
