// Rotary position embedding (Su et al. 2021), rotate-half form: within a head of width d, dimension
// j pairs with j + d/2 and turns by position * frequency_j.
#pragma once

#include <cstdint>
#include <optional>

#include "gda/ops/context.h"

namespace gda {

// Llama 3.1's stretching of low frequencies.
struct RopeScaling {
  double factor = 8.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  std::int64_t original_max_position_embeddings = 8192;
  bool operator==(const RopeScaling&) const = default;
};

// Cosines and sines of every position: table [2, positions, d/2] in `dtype` (f32 or f64), computed
// in f64. frequency_j = theta^(-2j/d), then scaled: wavelengths longer than
// original/low_freq_factor turn `factor` times slower, those shorter than original/high_freq_factor
// stay, and those between are interpolated.
OwnedTensor make_rope_table(double theta, const std::optional<RopeScaling>& scaling,
                            std::int64_t positions, std::int64_t head_dim, DType dtype,
                            Device device = {});

// Rotates the heads of x in place. x [N, heads * d] compute (a row stride is allowed: the Q and K
// part of a fused QKV row); position [N] i32, each below the table's number of positions, else
// OpError (on a GPU, which is not waited for: the row becomes NaN).
void rope_forward(const Context& context, const Tensor& x, const Tensor& position,
                  const Tensor& table);

// The inverse rotation of the gradient, in place.
void rope_backward(const Context& context, const Tensor& dx, const Tensor& position,
                   const Tensor& table);

}  // namespace gda
