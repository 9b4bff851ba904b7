// Owners of memory.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/tensor.h"

namespace gda {

// A device (or the host) has not as much memory. The message says how much was asked for, what for,
// how much is free, and what this process holds there.
class OutOfMemory : public Error {
 public:
  OutOfMemory(std::size_t bytes, Device device, const char* purpose);
};

// One block of aligned memory (64 bytes on the host, 256 on a GPU), zeroed when it is made.
// `purpose` names it in reports on memory: a literal such as "gradients".
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes, Device device = {}, const char* purpose = "other");
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
  const char* purpose_ = "";
};

// "gradients 1.2 GiB, parameters 0.6 GiB": what the Buffers of this process hold on a device, the
// largest first.
std::string memory_held(Device device);

// A tensor with its own memory.
struct OwnedTensor {
  OwnedTensor() = default;
  OwnedTensor(DType dtype, Shape shape, Device device = {}, const char* purpose = "other");
  Buffer buffer;
  Tensor tensor;
};

// A stack of allocations: activations are taken in forward order and given back in reverse. It
// grows by whole blocks in the first step and then allocates nothing more; where a plan has told
// how much a step takes, that is reserved as one block before.
class Arena {
 public:
  explicit Arena(Device device = {}, std::size_t block_bytes = std::size_t{32} << 20);

  // An arena that has no memory and only counts: what it hands out must not be touched. Kernels of
  // a GPU are not launched where it is the scratch of their context, so a pass through a model with
  // it tells what the same pass will take.
  static Arena plan(Device device);
  bool is_plan() const { return is_plan_; }

  // Takes a block of this size now. Only while the arena holds nothing.
  void reserve(std::size_t bytes);

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
  // The most that was taken at any time, where it all lies in one block or in none: of a plan, or
  // of what one has reserved.
  std::size_t peak() const { return peak_; }
  Device device() const { return device_; }

 private:
  void take(std::size_t bytes);

  Device device_;
  std::size_t block_bytes_;
  bool is_plan_ = false;
  std::size_t peak_ = 0;
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
