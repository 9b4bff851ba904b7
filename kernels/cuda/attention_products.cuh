// Products of tiles in shared memory by warps, and their sums in registers.
#pragma once

#include "attention_tiles.cuh"

namespace gda::cuda::tiled {

// Operands of products, as mma_m16n8k16 wants them (ptx.cuh). A: 16 rows and 16 columns from
// (row, column) of a tile; transposed: of the tile's transpose.
template <int kWidth, int kRows>
__device__ void load_a(const Tile<kWidth, kRows>& tile, int row, int column,
                       std::uint32_t (&a)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  load_matrix_x4(a, tile.chunk(row + lane % 16, column + lane / 16 * kChunk));
}
template <int kWidth, int kRows>
__device__ void load_a_transposed(const Tile<kWidth, kRows>& tile, int row, int column,
                                  std::uint32_t (&a)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  load_matrix_x4_transposed(
      a, tile.chunk(column + lane / 16 * 8 + lane % 8, row + lane / 8 % 2 * kChunk));
}

// B of two neighbouring products: 16 deep, 16 wide. From a tile whose rows are B's columns ...
template <int kWidth, int kRows>
__device__ void load_b_by_columns(const Tile<kWidth, kRows>& tile, int depth, int column,
                                  std::uint32_t (&b)[2][2]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  std::uint32_t r[4];
  load_matrix_x4(r, tile.chunk(column + lane / 16 * 8 + lane % 8, depth + lane / 8 % 2 * kChunk));
  b[0][0] = r[0];
  b[0][1] = r[1];
  b[1][0] = r[2];
  b[1][1] = r[3];
}
// ... or whose rows are B's rows.
template <int kWidth, int kRows>
__device__ void load_b_by_rows(const Tile<kWidth, kRows>& tile, int depth, int column,
                               std::uint32_t (&b)[2][2]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  std::uint32_t r[4];
  load_matrix_x4_transposed(r, tile.chunk(depth + lane % 16, column + lane / 16 * kChunk));
  b[0][0] = r[0];
  b[0][1] = r[1];
  b[1][0] = r[2];
  b[1][1] = r[3];
}

// A warp's sums: 16 rows, 8 kColumns columns. Element i of a thread stands in row
// lane / 4 + 8 (i / 2) and column lane % 4 * 2 + i % 2.
template <int kColumns>
struct Sums {
  float value[kColumns][4];

  __device__ void clear() {
    for (auto& column : value) {
      for (float& one : column) one = 0;
    }
  }
};

__device__ inline int sum_row(int i) {
  return static_cast<int>(threadIdx.x) % kWarp / 4 + i / 2 * 8;
}
__device__ inline int sum_column(int i) {
  return static_cast<int>(threadIdx.x) % 4 * 2 + i % 2;
}

// c[block] += A B of a warp, A [16, kDepth] of each block: left_at(block, depth, a) and
// right_at(depth, column, b) load operands. Blocks share B.
template <int kDepth, int kBlocks, int kColumns, class LeftAt, class RightAt>
__device__ void multiply(const LeftAt& left_at, const RightAt& right_at, Sums<kColumns>* c) {
  GDA_UNROLL
  for (int depth = 0; depth < kDepth; depth += kStep) {
    std::uint32_t left[kBlocks][4];
    GDA_UNROLL
    for (int block = 0; block < kBlocks; ++block) left_at(block, depth, left[block]);
    GDA_UNROLL
    for (int n = 0; n < kColumns; n += 2) {
      std::uint32_t right[2][2];
      right_at(depth, 8 * n, right);
      GDA_UNROLL
      for (int block = 0; block < kBlocks; ++block) {
        mma_m16n8k16(c[block].value[n], left[block], right[0]);
        mma_m16n8k16(c[block].value[n + 1], left[block], right[1]);
      }
    }
  }
}

// c += rows [row, row + 16) of `a` times rows [column, column + 8 kColumns) of `b`, transposed.
template <int kColumns, int kWidth, int kRows>
__device__ void multiply_rows(const Tile<kWidth, kRows>& a, int row, const Tile<kWidth>& b,
                              int column, Sums<kColumns>& c) {
  multiply<kWidth, 1>(
      [&](int, int depth, auto& left) { load_a(a, row, depth, left); },
      [&](int depth, int n, auto& right) { load_b_by_columns(b, depth, column + n, right); }, &c);
}

// c += W b[:, column ...], where W [16, 64] are a warp's own sums, rounded to bf16.
template <int kColumns, int kWidth>
__device__ void multiply_sums(const Sums<kTile / 8>& w, const Tile<kWidth>& b, int column,
                              Sums<kColumns>& c) {
  multiply<kTile, 1>(
      [&](int, int depth, auto& left) {
        const auto& lo = w.value[depth / 8];
        const auto& hi = w.value[depth / 8 + 1];
        left[0] = pack_bf16x2(lo[0], lo[1]);
        left[1] = pack_bf16x2(lo[2], lo[3]);
        left[2] = pack_bf16x2(hi[0], hi[1]);
        left[3] = pack_bf16x2(hi[2], hi[3]);
      },
      [&](int depth, int n, auto& right) { load_b_by_rows(b, depth, column + n, right); }, &c);
}

// c[i] += rows [row + 16 i, row + 16 (i + 1)) of the transpose of `a` [64, 64] times
// b[:, column ...].
template <int kBlocks, int kColumns, int kWidth>
__device__ void multiply_transposed(const Tile<kTile>& a, int row, const Tile<kWidth>& b,
                                    int column, Sums<kColumns> (&c)[kBlocks]) {
  multiply<kTile, kBlocks>(
      [&](int block, int depth, auto& left) {
        load_a_transposed(a, row + 16 * block, depth, left);
      },
      [&](int depth, int n, auto& right) { load_b_by_rows(b, depth, column + n, right); }, c);
}

}  // namespace gda::cuda::tiled
