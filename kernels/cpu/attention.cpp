#include <cmath>

#include "attention_reference.h"
#include "attention_tiled.h"

namespace gda::cpu {
namespace {

template <class V>
void raise_max_logit(const ops::AttentionMaxLogit& a) {
  const std::int64_t heads = a.max_logit.elements();
  for (std::int64_t i = 0; i < a.lse.elements(); ++i) {
    V& held = a.max_logit.data<V>()[i % heads];
    const V largest = a.row_max.data<V>()[i];
    if (std::isnan(a.lse.data<V>()[i])) {
      held = NAN;
    } else if (largest > held) {
      held = largest;
    }
  }
}

}  // namespace

void attention_forward(const Context& context, const ops::AttentionForward& a) {
  const auto implementation =
      a.q.dtype() == DType::f64 ? reference::attention_forward : tiled::attention_forward;
  implementation(context, a);
}

void attention_max_logit(const Context& /*context*/, const ops::AttentionMaxLogit& a) {
  if (a.max_logit.dtype() == DType::f64) {
    raise_max_logit<double>(a);
  } else {
    raise_max_logit<float>(a);
  }
}

void attention_backward(const Context& context, const ops::AttentionBackward& a) {
  const auto implementation =
      a.q.dtype() == DType::f64 ? reference::attention_backward : tiled::attention_backward;
  implementation(context, a);
}

}  // namespace gda::cpu
