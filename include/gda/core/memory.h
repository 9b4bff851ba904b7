// Owners of device memory.
#pragma once

#include <cstddef>
#include <vector>

#include "gda/core/tensor.h"

namespace gda {

// One block of 64-byte aligned memory, zeroed when it is made.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes, Device device = {});
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  // A tensor over bytes [offset, ...) of this buffer.
  Tensor tensor(DType dtype, Shape shape, std::size_t offset = 0) const;

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  Device device_;
};

// A tensor with its own memory.
struct OwnedTensor {
  OwnedTensor() = default;
  OwnedTensor(DType dtype, Shape shape, Device device = {});
  Buffer buffer;
  Tensor tensor;
};

// A stack of allocations: activations are taken in forward order and given back in reverse. It
// grows by whole blocks in the first step and then allocates nothing more.
class Arena {
 public:
  explicit Arena(Device device = {}, std::size_t block_bytes = std::size_t{32} << 20);

  // Uninitialised memory, valid until the arena is rewound past it.
  Tensor allocate(DType dtype, Shape shape);

  struct Mark {
    std::size_t block = 0;
    std::size_t used = 0;
  };
  Mark mark() const { return {block_, used_}; }
  // Gives back everything that was allocated after the mark.
  void rewind(Mark mark);

  // Bytes held from the system.
  std::size_t capacity() const;
  Device device() const { return device_; }

 private:
  Device device_;
  std::size_t block_bytes_;
  std::vector<Buffer> blocks_;
  std::size_t block_ = 0;
  std::size_t used_ = 0;
};

// Rewinds an arena at the end of a scope.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.rewind(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

}  // namespace gda
