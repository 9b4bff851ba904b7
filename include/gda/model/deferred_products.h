// Products for gradients of weights that a backward pass puts off, so that another stage gets its
// gradient sooner (zero-bubble schedules, Qi et al. 2023).
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "gda/core/memory.h"
#include "gda/ops/context.h"

namespace gda {

class Linear;

// Of the layers of one backward pass. What the products need is copied into the arena, which holds
// nothing else: of tensors that tensor-parallel places share, each place has its rows.
class DeferredProducts {
 public:
  explicit DeferredProducts(Arena arena = Arena()) : arena_(std::move(arena)) {}

  bool empty() const { return products_.empty(); }
  const Arena& arena() const { return arena_; }

 private:
  friend class Linear;
  friend class Decoder;
  struct Product {
    const Linear* linear;
    std::size_t layer;  // of the stage, from 0
    Tensor x, dy;
  };

  // What is added from now on is of this layer.
  void begin_layer(std::size_t layer) { layer_ = layer; }
  void add(const Context& context, const Linear& linear, const Tensor& x, const Tensor& dy);
  // Carries out products [begin, end).
  void run(const Context& context, std::size_t begin, std::size_t end) const;
  void clear();

  Arena arena_;
  std::vector<Product> products_;
  std::size_t layer_ = 0;
};

}  // namespace gda
