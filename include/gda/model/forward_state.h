// State that the forward pass of a micro-batch through a stage keeps for its backward pass.
#pragma once

#include <memory>

#include "gda/core/tensor.h"

namespace gda {

// Holds the top of an arena (Decoder::forward's `kept`) until the backward pass has consumed it, or
// it goes: states in one arena go in reverse order. Micro-batches in flight at the same time each
// have an arena that holds what they keep and nothing else, since what passes take for themselves
// comes from their context's. For one micro-batch the context's arena can be both: one stack, as
// high as what is kept and the largest scratch on top of it.
class ForwardState {
 public:
  ForwardState(ForwardState&&) noexcept;
  ForwardState& operator=(ForwardState&&) noexcept;
  ~ForwardState();

  // [N, D]: the residual stream behind the stage's last layer.
  const Tensor& output() const;

 private:
  friend class Decoder;
  struct Kept;
  explicit ForwardState(std::unique_ptr<Kept> kept);

  std::unique_ptr<Kept> kept_;
};

}  // namespace gda
