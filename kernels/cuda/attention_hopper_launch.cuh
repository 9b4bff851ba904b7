// What the launches of the Hopper attention kernels share.
#pragma once

#include "attention_hopper.h"
#include "attention_hopper_tiles.cuh"
#include "attention_tiled_launch.cuh"

namespace gda::cuda::hopper {

// Blocks (packs x sequences, tiles of the largest pack's rows).
dim3 row_grid(const Problem& p, std::int64_t batch);
// Blocks (heads x sequences, tiles of keys): those with the most queries first.
dim3 key_grid(const AttentionShape& shape, std::int64_t heads);

// Calls f<d, d_v>(); the shape is one that the kernels take.
template <class F>
void with_widths(const AttentionShape& shape, F&& f) {
  if (shape.head_dim == 64) {
    tiled::with_value_dim<64>(shape, f);
  } else {
    tiled::with_value_dim<128>(shape, f);
  }
}

}  // namespace gda::cuda::hopper
