// What the launches of the tiled attention kernels share, and the mask that all of them apply.
#pragma once

#include "attention_tiled.h"
#include "attention_tiles.cuh"

namespace gda::cuda::tiled {

Problem problem_of(const AttentionShape& shape, const Tensor& q, const Tensor& k, const Tensor& v,
                   const Tensor& first_key);

// Blocks: tiles of the largest pack's rows, packs, sequences.
dim3 pack_grid(const Problem& p, std::int64_t batch);

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
  switch (shape.head_dim) {
    case 64:
      return with_values.template operator()<64>();
    case 96:
      return with_values.template operator()<96>();
    default:
      return with_values.template operator()<128>();
  }
}

// scores of rows [first_row, first_row + 16) of a pack and of 8 kColumns keys from first_key: times
// `scale`, and -inf where a row does not see a key.
template <int kColumns>
__device__ void mask_scores(const PackRows& rows, int first_row, int first_key, float scale,
                            Sums<kColumns>& scores) {
  for (int half = 0; half < 2; ++half) {
    const int m = first_row + sum_row(2 * half);
    const bool exists = m < rows.count();
    const int lowest = exists ? rows.first_key_of(m) : 0;
    const int highest = exists ? rows.last_key_of(m) : -1;
    for (int n = 0; n < kColumns; ++n) {
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        const int key = first_key + 8 * n + sum_column(i);
        float& score = scores.value[n][i];
        score = key >= lowest && key <= highest ? score * scale : -INFINITY;
      }
    }
  }
}

}  // namespace gda::cuda::tiled
