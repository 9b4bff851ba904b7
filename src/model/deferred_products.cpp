#include "gda/model/deferred_products.h"

#include "gda/ops/elementwise.h"
#include "model/linear.h"

namespace gda {

void DeferredProducts::add(const Context& context, const Linear& linear, const Tensor& x,
                           const Tensor& dy) {
  const auto copied = [&](const Tensor& from) {
    const Tensor to = arena_.allocate(from.dtype(), from.shape());
    convert(context, from, to);
    return to;
  };
  products_.push_back({.linear = &linear, .layer = layer_, .x = copied(x), .dy = copied(dy)});
}

// What the next product waits for is on its way under the one before it.
void DeferredProducts::run(const Context& context, std::size_t begin, std::size_t end) const {
  const ArenaScope scope(context.arena);
  const auto fetch = [&](std::size_t i) {
    return products_[i].linear->fetch(context, products_[i].x, products_[i].dy);
  };
  Linear::Operands next = fetch(begin);
  for (std::size_t i = begin; i < end; ++i) {
    const Linear::Operands now = next;
    if (i + 1 < end) next = fetch(i + 1);
    now.fetched.wait();
    products_[i].linear->backward_weight(context, now.x, now.dy);
  }
}

void DeferredProducts::clear() {
  products_.clear();
  arena_.rewind({});
}

}  // namespace gda
