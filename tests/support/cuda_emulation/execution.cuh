// The CUDA execution model on the host: what kernels/cuda/native/execution.cuh gives kernels on a
// GPU, for tests on machines without one. Kernels are compiled as they stand;
// docs/cuda_emulation.md says what is emulated and what is not.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "gda/core/error.h"
#include "gda/ops/context.h"
#include "streams.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define GDA_UNROLL

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

namespace gda::emulation {

// A kernel broke a rule of the execution model.
class Fault : public Error {
 public:
  using Error::Error;
};

constexpr int kWarpSize = 32;

// What threads of a warp that meet show one another.
using Deposit = std::array<std::byte, 64>;

// Of the thread that is running.
const dim3& thread_index();
const dim3& block_index();
const dim3& block_size();
const dim3& grid_size();

// Waits for all threads of the block. Fault if one returns without coming.
void block_barrier();
// Waits for the threads of `mask` of this warp, which must come with the same `name`; returns what
// each of them brought. The result is valid until the thread meets others again.
const Deposit* meet(const char* name, std::uint32_t mask, const Deposit& mine);
int lane();

std::byte* shared_begin();
std::size_t shared_bytes();

// cp.async: copies happen at the wait that asks for them, so that one which is forgotten shows.
void copy_later(void* target, const void* source, std::size_t bytes);
void end_copy_group();
void wait_for_copies(int groups_left);
// What was copied is to be read by products that read shared memory themselves (wgmma.cuh).
void fence_copies();
// Fault if a thread of the block has copies that it waited for and did not fence.
void require_fenced_copies(const char* name);

// Products under way: `finish` runs at the wait that asks for it.
void product_later(std::function<void()> finish);
void end_product_group();
void wait_for_product_groups(int groups_left);

// Runs all blocks of a grid, one after the other, in an order that differs from that of their
// indices. Shared memory begins as NaN.
void run(const std::string& name, dim3 grid, dim3 block, std::size_t shared,
         const std::function<void()>& kernel);

template <class T>
const Deposit* meet_with(const char* name, std::uint32_t mask, const T& value) {
  static_assert(sizeof(T) <= sizeof(Deposit) && std::is_trivially_copyable_v<T>);
  Deposit mine{};
  std::memcpy(mine.data(), &value, sizeof value);
  return meet(name, mask, mine);
}

template <class T>
T taken(const Deposit& from) {
  T value;
  std::memcpy(&value, from.data(), sizeof value);
  return value;
}

}  // namespace gda::emulation

#define threadIdx (::gda::emulation::thread_index())
#define blockIdx (::gda::emulation::block_index())
#define blockDim (::gda::emulation::block_size())
#define gridDim (::gda::emulation::grid_size())

inline void __syncthreads() {
  gda::emulation::block_barrier();
}

inline void __syncwarp(std::uint32_t mask = 0xffffffffU) {
  gda::emulation::meet_with("__syncwarp", mask, 0);
}

template <class T>
T __shfl_xor_sync(std::uint32_t mask, T value, int lane_mask) {
  using namespace gda::emulation;
  return taken<T>(meet_with("__shfl_xor_sync", mask, value)[lane() ^ lane_mask]);
}

template <class T>
T __shfl_sync(std::uint32_t mask, T value, int source) {
  using namespace gda::emulation;
  return taken<T>(meet_with("__shfl_sync", mask, value)[source % kWarpSize]);
}

inline bool __any_sync(std::uint32_t mask, bool value) {
  using namespace gda::emulation;
  const Deposit* all = meet_with("__any_sync", mask, value);
  return std::any_of(all, all + kWarpSize, [](const Deposit& one) { return taken<bool>(one); });
}

namespace gda::cuda {

// A part of the block's shared memory; reading or writing outside it is a fault.
template <class T>
class Shared {
 public:
  Shared(T* data, int size) : data_(data), size_(size) {}

  T& operator[](int i) const {
    require<emulation::Fault>(i >= 0 && i < size_, "shared memory: element {} of {}", i, size_);
    return data_[i];
  }
  // Elements [i, i + count) as one.
  T* span(int i, int count) const {
    require<emulation::Fault>(i >= 0 && i + count <= size_,
                              "shared memory: elements [{}, {}) of {}", i, i + count, size_);
    return data_ + i;
  }

 private:
  T* data_;
  int size_;
};

template <class T>
Shared<T> shared_memory(int byte_offset, int count) {
  const auto end =
      static_cast<std::size_t>(byte_offset) + sizeof(T) * static_cast<std::size_t>(count);
  require<emulation::Fault>(byte_offset % alignof(T) == 0 && end <= emulation::shared_bytes(),
                            "shared memory: bytes [{}, {}) of {}", byte_offset, end,
                            emulation::shared_bytes());
  return {reinterpret_cast<T*>(emulation::shared_begin() + byte_offset), count};
}

// As much as compute capability 9.0 has, or GDA_EMULATED_SHARED_KIB.
inline std::size_t shared_memory_limit() {
  const char* given = std::getenv("GDA_EMULATED_SHARED_KIB");
  return std::size_t{given == nullptr ? 227U : static_cast<unsigned>(std::atoi(given))} << 10;
}

struct Grid {
  dim3 blocks;
  unsigned threads = 1;
  std::size_t shared_bytes = 0;
};

template <class... Parameters, class... Arguments>
void launch(const Context& context, const char* name, void (*kernel)(Parameters...),
            const Grid& grid, Arguments... arguments) {
  if (context.arena.is_plan()) return;
  require<emulation::Fault>(grid.shared_bytes <= shared_memory_limit(),
                            "{}: {} bytes of shared memory, of {}", name, grid.shared_bytes,
                            shared_memory_limit());
  emulation::enqueue(context.stream, [=] {
    emulation::run(name, grid.blocks, {grid.threads, 1, 1}, grid.shared_bytes,
                   [&] { kernel(static_cast<Parameters>(arguments)...); });
  });
}

}  // namespace gda::cuda

using std::max;
using std::min;
