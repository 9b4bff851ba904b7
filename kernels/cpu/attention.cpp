#include "attention_reference.h"
#include "attention_tiled.h"

namespace gda::cpu {

void attention_forward(const Context& context, const ops::AttentionForward& a) {
  const auto implementation =
      a.q.dtype() == DType::f64 ? reference::attention_forward : tiled::attention_forward;
  implementation(context, a);
}

void attention_backward(const Context& context, const ops::AttentionBackward& a) {
  const auto implementation =
      a.q.dtype() == DType::f64 ? reference::attention_backward : tiled::attention_backward;
  implementation(context, a);
}

}  // namespace gda::cpu
