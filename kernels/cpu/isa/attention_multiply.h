// The register-blocked product of two tiles.
//
// A block of C, kBlockRows x kBlockVectors vectors, stays in registers over the whole depth; each
// step loads kBlockVectors vectors of B and broadcasts kBlockRows elements of A. AVX2 has 16
// registers: 6 x 2 accumulators leave room for 2 of B and the broadcast. AVX-512 has 32: 6 x 4.
#pragma once

#include "isa/attention.h"
#include "isa/vector.h"

namespace gda::cpu::GDA_ISA {

inline constexpr int kBlockRows = 6;
inline constexpr int kBlockVectors = kLanes == 16 ? 4 : 2;

template <bool kTransposedA, int kRows, int kVectors>
GDA_INLINE void multiply_block(const TileProduct& t, std::int64_t row, std::int64_t column) {
  const std::int64_t row_step = kTransposedA ? 1 : t.a_stride;
  const std::int64_t depth_step = kTransposedA ? t.a_stride : 1;
  const float* a = t.a + row * row_step;
  const float* b = t.b + column;
  Vector sum[kRows][kVectors] = {};
  for (std::int64_t p = 0; p < t.depth; ++p) {
    Vector right[kVectors];
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n) right[n] = load(b + n * kLanes);
#pragma GCC unroll 6
    for (int m = 0; m < kRows; ++m) {
      const Vector left = splat(a[m * row_step]);
#pragma GCC unroll 4
      for (int n = 0; n < kVectors; ++n) sum[m][n] += left * right[n];
    }
    a += depth_step;
    b += t.b_stride;
  }
  float* c = t.c + row * t.c_stride + column;
#pragma GCC unroll 6
  for (int m = 0; m < kRows; ++m) {
    const Vector factor = splat(t.row_scale != nullptr ? t.row_scale[row + m] : 1.0F);
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n) {
      float* at = c + m * t.c_stride + n * kLanes;
      store(at, t.accumulate ? load(at) * factor + sum[m][n] : sum[m][n]);
    }
  }
}

template <bool kTransposedA, int kVectors>
GDA_INLINE void multiply_columns(const TileProduct& t, std::int64_t column) {
  std::int64_t row = 0;
  for (; row + kBlockRows <= t.rows; row += kBlockRows) {
    multiply_block<kTransposedA, kBlockRows, kVectors>(t, row, column);
  }
  switch (t.rows - row) {
    case 1:
      return multiply_block<kTransposedA, 1, kVectors>(t, row, column);
    case 2:
      return multiply_block<kTransposedA, 2, kVectors>(t, row, column);
    case 3:
      return multiply_block<kTransposedA, 3, kVectors>(t, row, column);
    case 4:
      return multiply_block<kTransposedA, 4, kVectors>(t, row, column);
    case 5:
      return multiply_block<kTransposedA, 5, kVectors>(t, row, column);
    default:
      return;
  }
}

template <bool kTransposedA>
void multiply_tiles(const TileProduct& t) {
  std::int64_t column = 0;
  for (; column + kBlockVectors * kLanes <= t.columns; column += kBlockVectors * kLanes) {
    multiply_columns<kTransposedA, kBlockVectors>(t, column);
  }
  if constexpr (kBlockVectors == 4) {
    switch ((t.columns - column) / kLanes) {
      case 1:
        return multiply_columns<kTransposedA, 1>(t, column);
      case 2:
        return multiply_columns<kTransposedA, 2>(t, column);
      case 3:
        return multiply_columns<kTransposedA, 3>(t, column);
      default:
        return;
    }
  }
  // With two vectors of 8 (or 4) lanes a block's width divides kWidth.
  static_assert(kBlockVectors == 4 || AttentionKernels::kWidth % (kBlockVectors * kLanes) == 0);
}

}  // namespace gda::cpu::GDA_ISA
