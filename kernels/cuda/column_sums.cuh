// Sums over rows, such as gradients of norm weights: each block of a pass over rows leaves a
// partial sum, and these are added in their order. Their number does not depend on the device, so
// sums have the same bits on all of them.
#pragma once

#include "numbers.cuh"

namespace gda::cuda {

// Nearly four for each of an H100's 132 multiprocessors, where four of 256 threads and 64 registers
// fit at once; few enough that the sums of a row of 16,384 columns take no more memory than a
// micro-batch's row of activations.
constexpr std::int64_t kRowBlocks = 512;

inline unsigned row_blocks(std::int64_t rows) {
  return static_cast<unsigned>(std::min(rows, kRowBlocks));
}

// Sums of a row's columns, while packs of kWidth columns are added to them. In shared memory the
// i-th parts of all packs lie together, so that lanes with neighbouring packs meet no bank twice.
template <class V, int kWidth>
struct SharedSums {
  Shared<V> memory;
  int at;  // of the first sum; begins on 16 bytes
  int packs;

  static constexpr int kPart = kPartWidth<V, kWidth>;
  __device__ V* part(std::int64_t p, int i) const {
    return memory.span(at + (i * packs + static_cast<int>(p)) * kPart, kPart);
  }
  __device__ V column(int j) const { return part(j / kWidth, j % kWidth / kPart)[j % kPart]; }
};

// The same in global memory, in the order of columns.
template <class V, int kWidth>
struct GlobalSums {
  V* memory;

  static constexpr int kPart = kPartWidth<V, kWidth>;
  __device__ V* part(std::int64_t p, int i) const { return memory + p * kWidth + i * kPart; }
};

// Adds the terms of pack p, or replaces what was there.
template <class Sums, class V, int kWidth>
__device__ void add_terms(const Sums& sums, std::int64_t p, const Pack<V, kWidth>& terms,
                          bool replace) {
  using Part = Pack<V, Sums::kPart>;
  for (int i = 0; i < kWidth / Sums::kPart; ++i) {
    auto* at = reinterpret_cast<Part*>(sums.part(p, i));
    Part part{};
    if (!replace) part = *at;
    for (int k = 0; k < Sums::kPart; ++k) part.value[k] += terms.value[i * Sums::kPart + k];
    *at = part;
  }
}

// A block takes kSumColumns columns: 32 bytes of a row in f32, what memory moves at least, so that
// even few columns come to many blocks. kSumThreads / kSumColumns threads a column add every so
// many-th partial sum, and then each other's by halves.
constexpr int kSumColumns = 8;
constexpr int kSumThreads = 256;

template <class From, class To>
__global__ void __launch_bounds__(kSumThreads)
    add_partial_sums(const From* partial, std::int64_t blocks, std::int64_t columns, From factor,
                     bool accumulate, To* target) {
  const Shared<From> sums = shared_memory<From>(0, kSumThreads);
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t j = static_cast<std::int64_t>(blockIdx.x) * kSumColumns + thread % kSumColumns;
  From sum = 0;
  for (std::int64_t b = thread / kSumColumns; j < columns && b < blocks;
       b += kSumThreads / kSumColumns) {
    sum += partial[b * columns + j];
  }
  sums[thread] = sum;
  for (int half = kSumThreads / 2; half >= kSumColumns; half /= 2) {
    __syncthreads();
    if (thread < half) sums[thread] += sums[thread + half];
  }
  if (thread >= kSumColumns || j >= columns) return;
  target[j] = static_cast<To>((accumulate ? static_cast<From>(target[j]) : From(0)) +
                              factor * sums[thread]);
}

// target (+)= factor * sum over blocks of partial [blocks, columns].
template <class From, class To>
void add_partials(const Context& context, const char* name, const From* partial,
                  std::int64_t blocks, std::int64_t columns, From factor, bool accumulate,
                  To* target) {
  launch(context, name, add_partial_sums<From, To>,
         {.blocks = {blocks_for(columns, kSumColumns), 1, 1},
          .threads = kSumThreads,
          .shared_bytes = sizeof(From) * kSumThreads},
         partial, blocks, columns, factor, accumulate, target);
}

}  // namespace gda::cuda
