// What the launches of the tiled attention kernels share.
#pragma once

#include "attention_policy.cuh"
#include "attention_tiled.h"

namespace gda::cuda::tiled {

Problem problem_of(const AttentionShape& shape, const Tensor& q, const Tensor& k, const Tensor& v,
                   const Tensor& first_key);

// Blocks: tiles of `tile_rows` of the largest pack's rows, packs, sequences.
dim3 pack_grid(const Problem& p, int tile_rows, std::int64_t batch);

// Whether the kernels' tiles fit into the device's shared memory.
bool fits_forward(const AttentionShape& shape);
bool fits_backward(const AttentionShape& shape);

// Calls f<kD, d_v>(): values are as wide as keys, or twice as wide.
template <int kD, class F>
void with_value_dim(const AttentionShape& shape, F&& f) {
  if (shape.value_dim == kD) {
    f.template operator()<kD, kD>();
  } else {
    f.template operator()<kD, 2 * kD>();
  }
}

// Calls f<d, d_v>(); the shape is one that the kernels take.
template <class F>
void with_widths(const AttentionShape& shape, F&& f) {
  switch (shape.head_dim) {
    case 64:
      return with_value_dim<64>(shape, f);
    case 96:
      return with_value_dim<96>(shape, f);
    default:
      return with_value_dim<128>(shape, f);
  }
}

// Whether the device has room for what a kernel needs at least: one stage.
template <template <int, int, int> class Kernel>
bool fits(const AttentionShape& shape) {
  bool result = false;
  with_widths(shape, [&]<int kD, int kDv>() {
    result = Kernel<kD, kDv, 1>::kBytes <= static_cast<int>(shared_memory_limit());
  });
  return result;
}

// Calls f<stages>(): two where the device has room for `kBytes`, which they take.
template <int kBytes, class F>
void with_stages(F&& f) {
  if (kBytes <= static_cast<int>(shared_memory_limit())) {
    f.template operator()<kMostStages>();
  } else {
    f.template operator()<1>();
  }
}

}  // namespace gda::cuda::tiled
