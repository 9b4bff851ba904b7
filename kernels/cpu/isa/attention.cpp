#include "isa/attention.h"

#include "isa/attention_multiply.h"
#include "isa/vector.h"
#include "isa/vector_exp2.h"

namespace gda::cpu::GDA_ISA {
namespace {

constexpr float kInfinity = __builtin_inff();

// Rows of a head are short and lie a whole model's width apart: the processor does not foresee
// them.
template <class T>
GDA_INLINE void prefetch_ahead(const T* source, std::int64_t stride, std::int64_t row,
                               std::int64_t rows, std::int64_t width) {
  constexpr std::int64_t kRowsAhead = 6;
  const std::int64_t next = row + kRowsAhead < rows ? row + kRowsAhead : rows - 1;
  constexpr std::int64_t kLine = 64 / sizeof(T);
  for (std::int64_t n = 0; n < width; n += kLine) __builtin_prefetch(source + next * stride + n);
}

void load_f32(const float* source, std::int64_t source_stride, std::int64_t rows,
              std::int64_t width, float* target, std::int64_t target_stride,
              std::int64_t padded_width) {
  for (std::int64_t m = 0; m < rows; ++m) {
    const float* from = source + m * source_stride;
    float* to = target + m * target_stride;
    prefetch_ahead(source, source_stride, m, rows, width);
    for (std::int64_t n = 0; n < width; ++n) to[n] = from[n];
    for (std::int64_t n = width; n < padded_width; ++n) to[n] = 0;
  }
}

union Word {
  std::uint32_t i;
  float f;
};

void load_bf16(const std::uint16_t* source, std::int64_t source_stride, std::int64_t rows,
               std::int64_t width, float* target, std::int64_t target_stride,
               std::int64_t padded_width) {
  for (std::int64_t m = 0; m < rows; ++m) {
    const std::uint16_t* from = source + m * source_stride;
    float* to = target + m * target_stride;
    prefetch_ahead(source, source_stride, m, rows, width);
    for (std::int64_t n = 0; n < width; ++n) {
      to[n] = Word{static_cast<std::uint32_t>(from[n]) << 16}.f;
    }
    for (std::int64_t n = width; n < padded_width; ++n) to[n] = 0;
  }
}

void store_f32(const float* source, std::int64_t source_stride, const float* row_factor,
               std::int64_t rows, std::int64_t width, float* target, std::int64_t target_stride) {
  for (std::int64_t m = 0; m < rows; ++m) {
    const float* from = source + m * source_stride;
    float* to = target + m * target_stride;
    for (std::int64_t n = 0; n < width; ++n) to[n] = from[n] * row_factor[m];
  }
}

// Rounds to nearest even; NaN stays NaN, as gda::bfloat16 does.
void store_bf16(const float* source, std::int64_t source_stride, const float* row_factor,
                std::int64_t rows, std::int64_t width, std::uint16_t* target,
                std::int64_t target_stride) {
  for (std::int64_t m = 0; m < rows; ++m) {
    const float* from = source + m * source_stride;
    std::uint16_t* to = target + m * target_stride;
    for (std::int64_t n = 0; n < width; ++n) {
      Word word{};
      word.f = from[n] * row_factor[m];
      const std::uint32_t rounded = word.i + 0x7fffU + ((word.i >> 16) & 1U);
      const std::uint32_t quiet = word.i | 0x400000U;
      to[n] = static_cast<std::uint16_t>(((word.i & 0x7fffffffU) > 0x7f800000U ? quiet : rounded) >>
                                         16);
    }
  }
}

void transpose(const float* source, std::int64_t source_stride, std::int64_t rows,
               std::int64_t width, float factor, float* target, std::int64_t target_stride,
               std::int64_t padded_rows) {
  for (std::int64_t n = 0; n < width; ++n) {
    float* to = target + n * target_stride;
    for (std::int64_t m = 0; m < rows; ++m) to[m] = factor * source[m * source_stride + n];
    for (std::int64_t m = rows; m < padded_rows; ++m) to[m] = 0;
  }
}

// Eight partial sums, whatever the vector length: the same order everywhere.
void row_dots(const float* a, const float* b, std::int64_t stride, std::int64_t rows,
              std::int64_t width, float* target) {
  for (std::int64_t m = 0; m < rows; ++m) {
    float partial[8] = {};
    for (std::int64_t n = 0; n < width; n += 8) {
      for (std::int64_t i = 0; i < 8; ++i) {
        partial[i] += a[m * stride + n + i] * b[m * stride + n + i];
      }
    }
    target[m] = ((partial[0] + partial[1]) + (partial[2] + partial[3])) +
                ((partial[4] + partial[5]) + (partial[6] + partial[7]));
  }
}

void add(const float* source, float* target, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) target[i] += source[i];
}

// All ones in the lanes whose query does not see key j.
GDA_INLINE IntVector hidden(const TileMask& mask, std::int64_t n, std::int64_t j) {
  const IntVector key = splat(mask.key + static_cast<std::int32_t>(j));
  return (key < load(mask.first + n)) | (key > load(mask.last + n));
}

// The keys of the tile up to the last that any query of these lanes sees; last never decreases.
GDA_INLINE std::int64_t seen_keys(const TileMask& mask, std::int64_t n, std::int64_t keys) {
  const std::int64_t seen = std::int64_t{mask.last[n + kLanes - 1]} - mask.key + 1;
  return seen < 0 ? 0 : (seen < keys ? seen : keys);
}

template <bool kMasked>
void softmax_step_of(float* scores, std::int64_t stride, std::int64_t keys, std::int64_t queries,
                     const TileMask* mask, const SoftmaxState& state) {
  for (std::int64_t n = 0; n < queries; n += kLanes) {
    const std::int64_t seen = kMasked ? seen_keys(*mask, n, keys) : keys;
    const Vector before = load(state.maximum + n);
    Vector maximum = before;
    for (std::int64_t j = 0; j < seen; ++j) {
      Vector score = load(scores + j * stride + n);
      if constexpr (kMasked) {
        score = hidden(*mask, n, j) ? splat(-kInfinity) : score;
        store(scores + j * stride + n, score);
      }
      maximum = maximum < score ? score : maximum;
    }
    store(state.maximum + n, maximum);
    // A query that has seen no key yet has maximum -inf; 0 in its place makes every weight 2^-inf.
    const Vector base = maximum == splat(-kInfinity) ? Vector{} : maximum;
    const Vector rescale = vector_exp2(before - base);
    Vector sum = load(state.sum + n) * rescale;
    for (std::int64_t j = 0; j < seen; ++j) {
      const Vector weight = vector_exp2(load(scores + j * stride + n) - base);
      store(scores + j * stride + n, weight);
      sum += weight;
    }
    for (std::int64_t j = seen; j < keys; ++j) store(scores + j * stride + n, Vector{});
    store(state.sum + n, sum);
    store(state.rescale + n, rescale);
  }
}

void softmax_step(float* scores, std::int64_t stride, std::int64_t keys, std::int64_t queries,
                  const TileMask* mask, const SoftmaxState& state) {
  if (mask != nullptr) {
    softmax_step_of<true>(scores, stride, keys, queries, mask, state);
  } else {
    softmax_step_of<false>(scores, stride, keys, queries, mask, state);
  }
}

template <bool kMasked>
void softmax_gradient_of(float* scores, float* dweights, std::int64_t stride, std::int64_t keys,
                         std::int64_t queries, const TileMask* mask, const float* lse,
                         const float* delta) {
  for (std::int64_t n = 0; n < queries; n += kLanes) {
    const Vector log_sum = load(lse + n);
    const Vector shift = load(delta + n);
    const std::int64_t seen = kMasked ? seen_keys(*mask, n, keys) : keys;
    for (std::int64_t j = 0; j < seen; ++j) {
      Vector weight = vector_exp2(load(scores + j * stride + n) - log_sum);
      Vector gradient = weight * (load(dweights + j * stride + n) - shift);
      if constexpr (kMasked) {
        const IntVector unseen = hidden(*mask, n, j);
        weight = unseen ? Vector{} : weight;
        gradient = unseen ? Vector{} : gradient;
      }
      store(scores + j * stride + n, weight);
      store(dweights + j * stride + n, gradient);
    }
    for (std::int64_t j = seen; j < keys; ++j) {
      store(scores + j * stride + n, Vector{});
      store(dweights + j * stride + n, Vector{});
    }
  }
}

void softmax_gradient(float* scores, float* dweights, std::int64_t stride, std::int64_t keys,
                      std::int64_t queries, const TileMask* mask, const float* lse,
                      const float* delta) {
  if (mask != nullptr) {
    softmax_gradient_of<true>(scores, dweights, stride, keys, queries, mask, lse, delta);
  } else {
    softmax_gradient_of<false>(scores, dweights, stride, keys, queries, mask, lse, delta);
  }
}

}  // namespace

extern const AttentionKernels kAttentionKernels;
const AttentionKernels kAttentionKernels = {
    .load_f32 = load_f32,
    .load_bf16 = load_bf16,
    .store_f32 = store_f32,
    .store_bf16 = store_bf16,
    .transpose = transpose,
    .row_dots = row_dots,
    .add = add,
    .multiply = multiply_tiles<false>,
    .multiply_transposed = multiply_tiles<true>,
    .softmax_step = softmax_step,
    .softmax_gradient = softmax_gradient,
};

}  // namespace gda::cpu::GDA_ISA
