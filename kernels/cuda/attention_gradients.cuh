// What the two kernels of the backward pass share.
#pragma once

#include "attention_products.cuh"
#include "attention_tiled_launch.cuh"

namespace gda::cuda::tiled {

struct Gradients {
  Rows<const bfloat16> dout;
  const float* lse;
  const float* delta;
};

// A thread's two rows: what scores become weights and gradients with.
struct RowStatistics {
  float lse[2];  // in powers of two
  float delta[2];
};

// Masked scores become weights, and dweights what scores receive, over `p.scale`: products of it
// are scaled when they are stored.
template <int kColumns>
__device__ void to_gradients(const Problem& p, const RowStatistics& statistics,
                             Sums<kColumns>& scores, Sums<kColumns>& dweights) {
  const float scale = p.scale * static_cast<float>(M_LOG2E);
  GDA_UNROLL
  for (int n = 0; n < kColumns; ++n) {
    GDA_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float weight = exp2_approximate(scores.value[n][i] * scale - statistics.lse[i / 2]);
      scores.value[n][i] = weight;
      dweights.value[n][i] = weight * (dweights.value[n][i] - statistics.delta[i / 2]);
    }
  }
}

// Writes columns of a thread's row `half` of a warp's sums, times `factor`, from `to` on.
template <int kColumns>
__device__ void store_row(const Sums<kColumns>& sums, int half, float factor, bfloat16* to) {
  GDA_UNROLL
  for (int n = 0; n < kColumns; ++n) {
    const auto& column = sums.value[n];
    *reinterpret_cast<std::uint32_t*>(to + 8 * n + sum_column(0)) =
        pack_bf16x2(column[2 * half] * factor, column[2 * half + 1] * factor);
  }
}

void backward_queries(const Context& context, const AttentionShape& shape, const Problem& p,
                      const Gradients& g, const Tensor& dq);
void backward_keys(const Context& context, const AttentionShape& shape, const Problem& p,
                   const Gradients& g, const Tensor& dk, const Tensor& dv);
bool fits_backward_queries(const AttentionShape& shape);
bool fits_backward_keys(const AttentionShape& shape);

}  // namespace gda::cuda::tiled
