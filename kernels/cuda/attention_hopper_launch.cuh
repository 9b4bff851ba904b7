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
  const auto with_values = [&]<int kD>() {
    if (shape.value_dim == kD) {
      f.template operator()<kD, kD>();
    } else {
      f.template operator()<kD, 2 * kD>();
    }
  };
  if (shape.head_dim == 64) {
    with_values.template operator()<64>();
  } else {
    with_values.template operator()<128>();
  }
}

}  // namespace gda::cuda::hopper
