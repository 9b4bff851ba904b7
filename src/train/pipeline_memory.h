// Memory of the micro-batches that a pipeline has in flight.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "gda/core/memory.h"
#include "gda/dist/communicator.h"

namespace gda {

// Arenas of one size: one for what each micro-batch in flight keeps, used again by later ones.
class ArenaPool {
 public:
  explicit ArenaPool(Device device = {}) : device_(device) {}

  // As many as will be in use at once, each of so many bytes.
  void reserve(std::size_t count, std::size_t bytes);
  Arena& take();
  // It must hold nothing any more.
  void give_back(Arena& arena) { free_.push_back(&arena); }
  std::size_t bytes() const;

 private:
  Device device_;
  std::deque<Arena> all_;
  std::vector<Arena*> free_;
};

// Tensors of one shape that are received, computed with, and sent.
class MessagePool {
 public:
  // Of this shape from now on; nothing may be in use if it changes.
  void set_shape(DType dtype, const Shape& shape, Device device);
  // As many as there will be.
  void reserve(std::size_t count);
  Tensor take();
  // When `sent` is done.
  void give_back(const Tensor& tensor, Pending sent = {});
  // Waits for all that was sent.
  void wait();
  std::size_t bytes() const;

 private:
  struct Free {
    Tensor tensor;
    Pending sent;
  };

  DType dtype_ = DType::f32;
  Shape shape_;
  Device device_;
  std::deque<OwnedTensor> all_;
  std::deque<Free> free_;  // in the order in which they were given back
};

}  // namespace gda
