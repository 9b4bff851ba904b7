// What kernels are written with: CUDA's own names, shared memory as views, and the one way to
// launch. tests/support/cuda_emulation/execution.cuh is the same for the host.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "check.h"
#include "gda/ops/context.h"

// Before a loop of constant length whose indices choose registers or fixed addresses.
#define GDA_UNROLL _Pragma("unroll")

namespace gda::cuda {

// A part of the block's shared memory. (Tests check the bounds.)
template <class T>
class Shared {
 public:
  __device__ explicit Shared(T* data) : data_(data) {}
  __device__ T& operator[](int i) const { return data_[i]; }
  // Elements [i, i + count) as one.
  __device__ T* span(int i, int /*count*/) const { return data_ + i; }

 private:
  T* data_;
};

template <class T>
__device__ Shared<T> shared_memory(int byte_offset, int /*count*/) {
  extern __shared__ __align__(1024) unsigned char gda_shared_bytes[];
  return Shared<T>(reinterpret_cast<T*>(gda_shared_bytes + byte_offset));
}

// The most that a block of the current device may ask for.
inline std::size_t shared_memory_limit() {
  int device = 0;
  int bytes = 0;
  check(cudaGetDevice(&device), "cudaGetDevice", "shared_memory_limit");
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
        "cudaDeviceGetAttribute", "shared_memory_limit");
  return static_cast<std::size_t>(bytes);
}

struct Grid {
  dim3 blocks;
  unsigned threads = 1;
  std::size_t shared_bytes = 0;
};

// Puts a kernel on the context's stream; not where the context only plans its memory.
template <class... Parameters, class... Arguments>
void launch(const Context& context, const char* name, void (*kernel)(Parameters...),
            const Grid& grid, Arguments... arguments) {
  if (context.arena.is_plan()) return;
  constexpr std::size_t kWithoutAsking = std::size_t{48} << 10;
  if (grid.shared_bytes > kWithoutAsking) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(grid.shared_bytes)),
          "cudaFuncSetAttribute", name);
  }
  const auto stream = static_cast<cudaStream_t>(context.stream.handle);
  kernel<<<grid.blocks, grid.threads, grid.shared_bytes, stream>>>(
      static_cast<Parameters>(arguments)...);
  check(cudaGetLastError(), "launch", name);
}

}  // namespace gda::cuda
