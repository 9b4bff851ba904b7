#include "attention_reference.h"
#include "attention_tiled.h"
#include "ops/attention_kernels.h"

namespace gda::cpu {

void attention_forward(const Context& context, const AttentionShape& shape, const Tensor& q,
                       const Tensor& k, const Tensor& v, const Tensor& first_key, const Tensor& out,
                       const Tensor& lse) {
  const auto implementation =
      q.dtype() == DType::f64 ? reference::attention_forward : tiled::attention_forward;
  implementation(context, shape, q, k, v, first_key, out, lse);
}

void attention_backward(const Context& context, const AttentionShape& shape, const Tensor& q,
                        const Tensor& k, const Tensor& v, const Tensor& first_key,
                        const Tensor& out, const Tensor& lse, const Tensor& dout, const Tensor& dq,
                        const Tensor& dk, const Tensor& dv, const Tensor& delta) {
  const auto implementation =
      q.dtype() == DType::f64 ? reference::attention_backward : tiled::attention_backward;
  implementation(context, shape, q, k, v, first_key, out, lse, dout, dq, dk, dv, delta);
}

}  // namespace gda::cpu
