// Memory of the micro-batches that a pipeline has in flight.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <utility>
#include <vector>

#include "gda/core/memory.h"
#include "gda/dist/communicator.h"

namespace gda {

// Things that micro-batches in flight have one each of, used again by later ones: arenas for what
// they keep. They hold nothing while they are in the pool.
template <class Item>
class Pool {
 public:
  using Make = std::function<Item()>;
  explicit Pool(Make make) : make_(std::move(make)) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // As many as will be in use at once, made now; later ones likewise.
  void reserve(std::size_t count, Make make) {
    make_ = std::move(make);
    while (all_.size() < count) free_.push_back(&all_.emplace_back(make_()));
  }
  Item& take() {
    if (free_.empty()) free_.push_back(&all_.emplace_back(make_()));
    Item& item = *free_.back();
    free_.pop_back();
    return item;
  }
  void give_back(Item& item) { free_.push_back(&item); }
  const std::deque<Item>& all() const { return all_; }

 private:
  Make make_;
  std::deque<Item> all_;
  std::vector<Item*> free_;
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
