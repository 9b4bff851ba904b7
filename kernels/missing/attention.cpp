#include "ops/attention_kernels.h"
#include "ops/dispatch.h"

namespace gda::cuda {

void attention_forward(const Context&, const AttentionShape&, const Tensor&, const Tensor&,
                       const Tensor&, const Tensor&, const Tensor&, const Tensor&) {
  ops::fail_missing("attention_forward", "GDA_CUDA");
}

void attention_backward(const Context&, const AttentionShape&, const Tensor&, const Tensor&,
                        const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                        const Tensor&, const Tensor&, const Tensor&, const Tensor&) {
  ops::fail_missing("attention_backward", "GDA_CUDA");
}

}  // namespace gda::cuda
