// Elements and packs of them, and sums over threads.
#pragma once

#include "execution.cuh"
#include "gda/core/tensor.h"
#include "ops/dispatch.h"

namespace gda::cuda {

constexpr int kWarp = 32;
constexpr std::uint32_t kWholeWarp = 0xffffffffU;

template <class T>
__device__ accumulate_t<T> widen(T value) {
  return static_cast<accumulate_t<T>>(value);
}

// kWidth neighbours that are read and written at once: 16 bytes, or one element where rows are not
// aligned to that.
template <class T, int kWidth>
struct alignas(sizeof(T) * kWidth) Pack {
  T value[kWidth];
};

template <class T>
constexpr int kPackWidth = static_cast<int>(16 / sizeof(T));

// Row i of a matrix whose rows may have a stride.
template <class T>
struct Rows {
  T* data = nullptr;
  std::int64_t stride = 0;

  __device__ T* operator[](std::int64_t i) const { return data + i * stride; }
};

template <class T>
Rows<T> rows_of(const Tensor& tensor) {
  if (!tensor) return {};
  return {tensor.data<T>(), tensor.row_stride()};
}

// The elements of a pack that are accessed at once where they are wider than those that the pack is
// made for: f32 or f64 beside bf16 or f32.
template <class V, int kWidth>
constexpr int kPartWidth = std::min(kWidth, kPackWidth<V>);

// Numbers that may begin anywhere, such as a parameter among others: packs of what lies beside them
// do not depend on that.
template <class V>
struct Vector {
  const V* data;
  bool in_parts;  // it begins on 16 bytes

  // Its elements beside pack p.
  template <int kWidth>
  __device__ Pack<V, kWidth> pack(std::int64_t p) const {
    using Part = Pack<V, kPartWidth<V, kWidth>>;
    const V* from = data + p * kWidth;
    Pack<V, kWidth> all;
    if (in_parts) {
      for (int i = 0; i < kWidth; i += kPartWidth<V, kWidth>) {
        const Part part = *reinterpret_cast<const Part*>(from + i);
        for (int k = 0; k < kPartWidth<V, kWidth>; ++k) all.value[i + k] = part.value[k];
      }
    } else {
      for (int k = 0; k < kWidth; ++k) all.value[k] = from[k];
    }
    return all;
  }
};

inline bool begins_on_pack(const Tensor& tensor) {
  return reinterpret_cast<std::uintptr_t>(tensor.raw()) % 16 == 0;
}

template <class V>
Vector<V> vector_of(const Tensor& tensor) {
  return {tensor.data<V>(), begins_on_pack(tensor)};
}

// Whether all rows of all these tensors begin on 16 bytes and hold whole packs.
template <class... Tensors>
bool in_packs(std::int64_t columns, const Tensors&... tensors) {
  const auto fits = [&](const Tensor& tensor) {
    if (!tensor) return true;
    const auto width = static_cast<std::int64_t>(16 / size_of(tensor.dtype()));
    return begins_on_pack(tensor) && tensor.row_stride() % width == 0 && columns % width == 0;
  };
  return (fits(tensors) && ...);
}

// Calls f with the pack width, as a constant: that of T, or 1.
template <class T, class F>
void with_pack_width(bool packs, F&& f) {
  if (packs) {
    f(std::integral_constant<int, kPackWidth<T>>{});
  } else {
    f(std::integral_constant<int, 1>{});
  }
}

// The same sum in every thread of the warp.
template <class V>
__device__ V warp_sum(V value) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kWholeWarp, value, offset);
  }
  return value;
}

template <class V>
__device__ V warp_max(V value) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const V other = __shfl_xor_sync(kWholeWarp, value, offset);
    value = other > value ? other : value;
  }
  return value;
}

// The same for a block of whole warps. `scratch` holds an element for each warp, and is free again
// when all have returned.
template <class V, class Combine>
__device__ V block_reduce(V value, Shared<V> scratch, V neutral, Combine combine) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  value = combine(value);
  if (warps == 1) return value;
  __syncthreads();
  if (lane == 0) scratch[static_cast<int>(threadIdx.x) / kWarp] = value;
  __syncthreads();
  return combine(lane < warps ? scratch[lane] : neutral);
}

template <class V>
__device__ V block_sum(V value, Shared<V> scratch) {
  return block_reduce(value, scratch, V(0), [](V v) { return warp_sum(v); });
}

template <class V>
__device__ V block_max(V value, Shared<V> scratch) {
  return block_reduce(value, scratch, V(-INFINITY), [](V v) { return warp_max(v); });
}

// Threads of a block that goes over a row of `items` together: whole warps, none without an item
// unless there are few, and no more than `most`.
inline unsigned threads_for(std::int64_t items, unsigned most) {
  const std::int64_t warps = (items + kWarp - 1) / kWarp;
  return std::clamp(static_cast<unsigned>(warps) * kWarp, unsigned{kWarp}, most);
}

inline unsigned blocks_for(std::int64_t items, std::int64_t a_block) {
  return static_cast<unsigned>((items + a_block - 1) / a_block);
}

}  // namespace gda::cuda
