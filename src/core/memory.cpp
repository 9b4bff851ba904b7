#include "gda/core/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/device_memory.h"
#include "gda/core/error.h"

namespace gda {
namespace {

constexpr std::size_t kAlignment = 64;

std::size_t round_up(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

Buffer::Buffer(std::size_t bytes, Device device) : bytes_(bytes), device_(device) {
  if (device.type == DeviceType::cuda) {
    data_ = cuda::allocate(bytes, device.index);
    return;
  }
  if (bytes == 0) return;
  data_ = std::aligned_alloc(kAlignment, round_up(bytes));
  require<Error>(data_ != nullptr, "out of memory: {} MiB were asked for", bytes >> 20);
  std::memset(data_, 0, bytes);
}

Buffer::~Buffer() {
  if (device_.type == DeviceType::cuda) {
    cuda::release(data_, device_.index);
  } else {
    std::free(data_);
  }
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      device_(other.device_) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(device_, other.device_);
  return *this;
}

Tensor Buffer::tensor(DType dtype, Shape shape, std::size_t offset) const {
  require<OpError>(offset + static_cast<std::size_t>(shape.elements()) * size_of(dtype) <= bytes_,
                   "[buffer] {}{} at byte {} does not fit in {} bytes", name_of(dtype), shape.str(),
                   offset, bytes_);
  return {static_cast<std::byte*>(data_) + offset, dtype, shape, device_};
}

OwnedTensor::OwnedTensor(DType dtype, Shape shape, Device device)
    : buffer(static_cast<std::size_t>(shape.elements()) * size_of(dtype), device),
      tensor(buffer.tensor(dtype, shape)) {}

Arena::Arena(Device device, std::size_t block_bytes) : device_(device), block_bytes_(block_bytes) {}

Tensor Arena::allocate(DType dtype, Shape shape) {
  const std::size_t bytes = round_up(static_cast<std::size_t>(shape.elements()) * size_of(dtype));
  while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].bytes()) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) blocks_.emplace_back(std::max(bytes, block_bytes_), device_);
  const Tensor tensor = blocks_[block_].tensor(dtype, shape, used_);
  used_ += bytes;
  return tensor;
}

void Arena::rewind(Mark mark) {
  block_ = mark.block;
  used_ = mark.used;
}

std::size_t Arena::capacity() const {
  std::size_t total = 0;
  for (const Buffer& block : blocks_) total += block.bytes();
  return total;
}

}  // namespace gda
