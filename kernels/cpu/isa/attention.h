// The inner loops of attention on f32 tiles. A tile of scores is stored with keys as rows and
// queries along the vector lanes: maxima, sums and exponentials over keys then need no step across
// lanes, and both products read their other operand row by row.
//
// Tile widths (columns) are multiples of kWidth, so that every vector length divides them; what is
// beyond the true width is zero where it was loaded.
#pragma once

#include <cstdint>

namespace gda::cpu {

// C [rows, columns] = A [rows, depth] B [depth, columns], all row-major but A, see multiply below.
struct TileProduct {
  const float* a;
  std::int64_t a_stride;
  const float* b;
  std::int64_t b_stride;
  float* c;
  std::int64_t c_stride;
  std::int64_t rows, columns, depth;  // columns: a multiple of AttentionKernels::kWidth
  bool accumulate = false;            // add to C ...
  const float* row_scale = nullptr;   // ... after multiplying its row m by row_scale[m]
};

// Which keys a query sees: j with first[n] <= j <= last[n]. last never decreases with n.
struct TileMask {
  const std::int32_t* first;
  const std::int32_t* last;
  std::int32_t key;  // j of the tile's row 0
};

// The running softmax of a tile of queries, in base 2: scores are multiplied by log2(e) beforehand.
struct SoftmaxState {
  float* maximum;  // [queries]
  float* sum;      // [queries], of 2^(score - maximum)
  float* rescale;  // [queries]: what the last step multiplied earlier sums by
};

struct AttentionKernels {
  static constexpr std::int64_t kWidth = 16;

  // Rows of f32 or bf16 to f32 [rows, padded_width], zero from `width` on.
  void (*load_f32)(const float* source, std::int64_t source_stride, std::int64_t rows,
                   std::int64_t width, float* target, std::int64_t target_stride,
                   std::int64_t padded_width);
  void (*load_bf16)(const std::uint16_t* source, std::int64_t source_stride, std::int64_t rows,
                    std::int64_t width, float* target, std::int64_t target_stride,
                    std::int64_t padded_width);
  // target[m, n] = source[m, n] * row_factor[m].
  void (*store_f32)(const float* source, std::int64_t source_stride, const float* row_factor,
                    std::int64_t rows, std::int64_t width, float* target,
                    std::int64_t target_stride);
  void (*store_bf16)(const float* source, std::int64_t source_stride, const float* row_factor,
                     std::int64_t rows, std::int64_t width, std::uint16_t* target,
                     std::int64_t target_stride);
  // target [width, padded_rows] = factor * source^T, zero from `rows` on.
  void (*transpose)(const float* source, std::int64_t source_stride, std::int64_t rows,
                    std::int64_t width, float factor, float* target, std::int64_t target_stride,
                    std::int64_t padded_rows);
  // target[m] = <a[m, :], b[m, :]>.
  void (*row_dots)(const float* a, const float* b, std::int64_t stride, std::int64_t rows,
                   std::int64_t width, float* target);
  // target[i] += source[i].
  void (*add)(const float* source, float* target, std::int64_t count);

  // A is row-major: A[m, p] = a[m * a_stride + p].
  void (*multiply)(const TileProduct& product);
  // A is stored transposed: A[m, p] = a[p * a_stride + m].
  void (*multiply_transposed)(const TileProduct& product);

  // scores [keys, queries] become 2^(score - maximum), zero where masked; maximum, sum and rescale
  // take them in. mask: null when every query sees every key of the tile.
  void (*softmax_step)(float* scores, std::int64_t stride, std::int64_t keys, std::int64_t queries,
                       const TileMask* mask, const SoftmaxState& state);
  // scores become P = 2^(score - lse[n]); dweights become dS = P * (dweight - delta[n]); both are
  // zero where masked. lse in base 2.
  void (*softmax_gradient)(float* scores, float* dweights, std::int64_t stride, std::int64_t keys,
                           std::int64_t queries, const TileMask* mask, const float* lse,
                           const float* delta);
};

namespace baseline {
extern const AttentionKernels kAttentionKernels;
}
namespace avx2 {
extern const AttentionKernels kAttentionKernels;
}
namespace avx512 {
extern const AttentionKernels kAttentionKernels;
}

}  // namespace gda::cpu
