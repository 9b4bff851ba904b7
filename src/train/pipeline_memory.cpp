#include "train/pipeline_memory.h"

#include <utility>

namespace gda {

void MessagePool::set_shape(DType dtype, const Shape& shape, Device device) {
  if (dtype == dtype_ && shape == shape_ && device == device_) return;
  wait();
  free_.clear();
  all_.clear();
  dtype_ = dtype;
  shape_ = shape;
  device_ = device;
}

void MessagePool::reserve(std::size_t count) {
  while (all_.size() < count) {
    free_.push_back(
        {.tensor = all_.emplace_back(dtype_, shape_, device_, "pipeline messages").tensor,
         .sent = {}});
  }
}

Tensor MessagePool::take() {
  if (free_.empty()) return all_.emplace_back(dtype_, shape_, device_, "pipeline messages").tensor;
  // The oldest: what was sent of it is done first.
  Free oldest = std::move(free_.front());
  free_.pop_front();
  oldest.sent.wait();
  return oldest.tensor;
}

void MessagePool::give_back(const Tensor& tensor, Pending sent) {
  free_.push_back({.tensor = tensor, .sent = std::move(sent)});
}

void MessagePool::wait() {
  for (Free& free : free_) {
    free.sent.wait();
    free.sent = {};
  }
}

std::size_t MessagePool::bytes() const {
  std::size_t total = 0;
  for (const OwnedTensor& tensor : all_) total += tensor.buffer.bytes();
  return total;
}

}  // namespace gda
