// Sums over rows, such as gradients of norm weights: each block of a pass over rows leaves a
// partial sum, and these are added in their order. Their number does not depend on the device, so
// sums have the same bits on all of them.
#pragma once

#include "numbers.cuh"

namespace gda::cuda {

// Enough to fill the largest devices several times over, few enough that the sums of a row of
// 16,384 columns take no more memory than a micro-batch's row of activations.
constexpr std::int64_t kRowBlocks = 512;

inline unsigned row_blocks(std::int64_t rows) {
  return static_cast<unsigned>(std::min(rows, kRowBlocks));
}

template <class From, class To>
__global__ void __launch_bounds__(256)
    add_partial_sums(const From* partial, std::int64_t blocks, std::int64_t columns, From factor,
                     bool accumulate, To* target) {
  const std::int64_t j = static_cast<std::int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (j >= columns) return;
  From sum = 0;
  for (std::int64_t b = 0; b < blocks; ++b) sum += partial[b * columns + j];
  target[j] = static_cast<To>((accumulate ? static_cast<From>(target[j]) : From(0)) + factor * sum);
}

// target (+)= factor * sum over blocks of partial [blocks, columns].
template <class From, class To>
void add_partials(const Context& context, const char* name, const From* partial,
                  std::int64_t blocks, std::int64_t columns, From factor, bool accumulate,
                  To* target) {
  launch(context, name, add_partial_sums<From, To>,
         {.blocks = {blocks_for(columns, 256), 1, 1}, .threads = 256}, partial, blocks, columns,
         factor, accumulate, target);
}

}  // namespace gda::cuda
