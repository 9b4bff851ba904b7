// Weights from scores as tiles of keys come: a running maximum and sum for each row.
#pragma once

#include "attention_products.cuh"

namespace gda::cuda::tiled {

// Of a thread's two rows, lane / 4 and that plus 8. Exponents are of two: `scale` takes scores
// there.
struct Softmax {
  float scale;
  float largest[2] = {-INFINITY, -INFINITY};
  float total[2] = {0, 0};  // of this thread's columns

  __device__ explicit Softmax(float exponent_scale) : scale(exponent_scale) {}

  // Takes the largest scores in; returns what sums so far are multiplied with.
  __device__ float raise(const Sums<kTile / 8>& scores, int half) {
    // A NaN is lost here, and found again in the weights.
    float highest = scores.value[0][2 * half];
    GDA_UNROLL
    for (const auto& column : scores.value) {
      highest = fmaxf(highest, fmaxf(column[2 * half], column[2 * half + 1]));
    }
    for (int offset = 1; offset <= 2; offset *= 2) {
      highest = fmaxf(highest, __shfl_xor_sync(kWholeWarp, highest, offset));
    }
    const float before = largest[half];
    largest[half] = fmaxf(before, highest * scale);
    return exp2_approximate(before - base(half));
  }

  // A row that has seen no key yet keeps zeros.
  __device__ float base(int half) const {
    return largest[half] == -INFINITY ? 0.0F : largest[half];
  }

  __device__ void to_weights(Sums<kTile / 8>& scores, int half, float correction) {
    const float subtracted = base(half);
    float sum = 0;
    GDA_UNROLL
    for (auto& column : scores.value) {
      GDA_UNROLL
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        column[i] = exp2_approximate(column[i] * scale - subtracted);
        sum += column[i];
      }
    }
    total[half] = total[half] * correction + sum;
  }
};

// Scores become weights; sums so far are scaled to the new maximum.
template <int kColumns>
__device__ void to_weights(Sums<kTile / 8>& scores, Softmax& state, Sums<kColumns>& sums) {
  const float correction[2] = {state.raise(scores, 0), state.raise(scores, 1)};
  for (int half = 0; half < 2; ++half) state.to_weights(scores, half, correction[half]);
  // Where no row of the warp has a new maximum, the factors are 1.
  if (!__any_sync(kWholeWarp, correction[0] != 1 || correction[1] != 1)) return;
  GDA_UNROLL
  for (auto& column : sums.value) {
    for (int i = 0; i < 4; ++i) column[i] *= correction[i / 2];
  }
}

}  // namespace gda::cuda::tiled
