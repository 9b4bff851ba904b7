// The parts of the tiled attention kernels: packs of heads, tiles in shared memory, and products of
// tiles by warps.
//
// A tile's rows are padded by 16 bytes, so that the eight rows of an ldmatrix lie in different
// banks.
#pragma once

#include "attention_heads.cuh"
#include "ptx.cuh"

namespace gda::cuda::tiled {

constexpr int kTile = 64;  // rows of queries, and keys, of a tile
constexpr int kChunk = 8;  // bf16 of 16 bytes
constexpr int kStep = 16;  // depth of a tensor core product

// Query heads in the order of their packs. Pack p has heads [begin[p], begin[p + 1]) and reads
// key[p] and value[p]. Row m of a pack is head m % size of query m / size.
struct Packs {
  std::int16_t head[kMaxHeads];
  std::int16_t begin[kMaxHeads + 1];
  std::int16_t key[kMaxHeads];
  std::int16_t value[kMaxHeads];
  int count = 0;
  int heads = 0;

  __host__ __device__ int size(int pack) const { return begin[pack + 1] - begin[pack]; }
};

struct Problem {
  Packs packs;
  Lengths length;
  Rows<const bfloat16> q, k, v;
  const std::int32_t* first_key;
  float scale;  // 1 / sqrt(d)
};

// One pack in one sequence: where its rows are, and which keys they see.
struct PackRows {
  const Problem& p;
  int pack;
  int size;
  std::int64_t first_row;  // of the sequence, in q
  std::int64_t first_key;  // in k and v

  __device__ PackRows(const Problem& problem, int pack_index, int sequence)
      : p(problem),
        pack(pack_index),
        size(problem.packs.size(pack_index)),
        first_row(static_cast<std::int64_t>(sequence) * problem.length.queries),
        first_key(static_cast<std::int64_t>(sequence) * problem.length.keys) {}

  __device__ int count() const { return p.length.queries * size; }
  __device__ int query(int m) const { return m / size; }
  __device__ int head(int m) const { return p.packs.head[p.packs.begin[pack] + m % size]; }
  __device__ int last_key_of(int m) const { return query(m) + p.length.offset; }
  __device__ int first_key_of(int m) const {
    return p.first_key == nullptr ? 0 : max(0, p.first_key[first_row + query(m)]);
  }
  // Element (row, head) of what is kept a query and head.
  __device__ std::int64_t statistic(int m) const {
    return (first_row + query(m)) * p.packs.heads + head(m);
  }
};

// kRows rows of kWidth bf16 in shared memory.
template <int kWidth>
struct Tile {
  static constexpr int kStride = kWidth + kChunk;
  static constexpr int kElements = kTile * kStride;
  static constexpr int kBytes = kElements * static_cast<int>(sizeof(bfloat16));

  Shared<bfloat16> memory;

  __device__ explicit Tile(int byte_offset)
      : memory(shared_memory<bfloat16>(byte_offset, kElements)) {}
  __device__ bfloat16* chunk(int row, int column) const {
    return memory.span(row * kStride + column, kChunk);
  }
  __device__ void store_pair(int row, int column, std::uint32_t pair) const {
    *reinterpret_cast<std::uint32_t*>(memory.span(row * kStride + column, 2)) = pair;
  }

  // Begins to copy rows [0, kTile); `source(row)` is a row's place, or null for zeros.
  template <class Source>
  __device__ void load_async(const Source& source) const {
    constexpr int kChunks = kWidth / kChunk;
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kChunks;
         i += static_cast<int>(blockDim.x)) {
      const int column = i % kChunks * kChunk;
      const bfloat16* from = source(i / kChunks);
      copy_async_16(chunk(i / kChunks, column), from == nullptr ? nullptr : from + column,
                    from != nullptr);
    }
  }
};

// Operands of products, as mma_m16n8k16 wants them (ptx.cuh). A: 16 rows and 16 columns from
// (row, column) of a tile; transposed: of the tile's transpose.
template <int kWidth>
__device__ void load_a(const Tile<kWidth>& tile, int row, int column, std::uint32_t (&a)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  load_matrix_x4(a, tile.chunk(row + lane % 16, column + lane / 16 * kChunk));
}
template <int kWidth>
__device__ void load_a_transposed(const Tile<kWidth>& tile, int row, int column,
                                  std::uint32_t (&a)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  load_matrix_x4_transposed(
      a, tile.chunk(column + lane / 16 * 8 + lane % 8, row + lane / 8 % 2 * kChunk));
}

// B of two neighbouring products: 16 deep, 16 wide. From a tile whose rows are B's columns ...
template <int kWidth>
__device__ void load_b_by_columns(const Tile<kWidth>& tile, int depth, int column,
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
template <int kWidth>
__device__ void load_b_by_rows(const Tile<kWidth>& tile, int depth, int column,
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

// c += A B of a warp, A [16, kDepth]: left_at(depth, a) and right_at(depth, column, b) load
// operands.
template <int kDepth, int kColumns, class LeftAt, class RightAt>
__device__ void multiply(const LeftAt& left_at, const RightAt& right_at, Sums<kColumns>& c) {
  for (int depth = 0; depth < kDepth; depth += kStep) {
    std::uint32_t left[4];
    left_at(depth, left);
    for (int n = 0; n < kColumns; n += 2) {
      std::uint32_t right[2][2];
      right_at(depth, 8 * n, right);
      mma_m16n8k16(c.value[n], left, right[0]);
      mma_m16n8k16(c.value[n + 1], left, right[1]);
    }
  }
}

// c += rows [row, row + 16) of `a` times rows [column, column + 8 kColumns) of `b`, transposed.
template <int kColumns, int kWidth>
__device__ void multiply_rows(const Tile<kWidth>& a, int row, const Tile<kWidth>& b, int column,
                              Sums<kColumns>& c) {
  multiply<kWidth>(
      [&](int depth, auto& left) { load_a(a, row, depth, left); },
      [&](int depth, int n, auto& right) { load_b_by_columns(b, depth, column + n, right); }, c);
}

// c += W b[:, column ...], where W [16, 64] are a warp's own sums, rounded to bf16.
template <int kColumns, int kWidth>
__device__ void multiply_sums(const Sums<kTile / 8>& w, const Tile<kWidth>& b, int column,
                              Sums<kColumns>& c) {
  multiply<kTile>(
      [&](int depth, auto& left) {
        const auto& lo = w.value[depth / 8];
        const auto& hi = w.value[depth / 8 + 1];
        left[0] = pack_bf16x2(lo[0], lo[1]);
        left[1] = pack_bf16x2(lo[2], lo[3]);
        left[2] = pack_bf16x2(hi[0], hi[1]);
        left[3] = pack_bf16x2(hi[2], hi[3]);
      },
      [&](int depth, int n, auto& right) { load_b_by_rows(b, depth, column + n, right); }, c);
}

// c += rows [row, row + 16) of the transpose of `a` [64, 64] times b[:, column ...].
template <int kColumns, int kWidth>
__device__ void multiply_transposed(const Tile<kTile>& a, int row, const Tile<kWidth>& b,
                                    int column, Sums<kColumns>& c) {
  multiply<kTile>(
      [&](int depth, auto& left) { load_a_transposed(a, row, depth, left); },
      [&](int depth, int n, auto& right) { load_b_by_rows(b, depth, column + n, right); }, c);
}

// The keys that rows [first, first + kTile) of a pack see, any of them: [begin, end).
struct KeyRange {
  int begin, end;
};

__device__ inline KeyRange keys_of_tile(const PackRows& rows, int first, Shared<int> scratch) {
  const int last = min(first + kTile, rows.count()) - 1;
  int begin = rows.last_key_of(last);
  for (int m = first + static_cast<int>(threadIdx.x); m <= last;
       m += static_cast<int>(blockDim.x)) {
    begin = min(begin, rows.first_key_of(m));
  }
  begin = block_reduce(begin, scratch, begin, [](int value) {
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      value = min(value, __shfl_xor_sync(kWholeWarp, value, offset));
    }
    return value;
  });
  return {begin, rows.last_key_of(last) + 1};
}

// Where row m of a pack is in q (or in what is shaped as q); null beyond the last row.
__device__ inline const bfloat16* row_of(const PackRows& rows, const Rows<const bfloat16>& matrix,
                                         int m, int width) {
  if (m >= rows.count()) return nullptr;
  return matrix[rows.first_row + rows.query(m)] + static_cast<std::int64_t>(rows.head(m)) * width;
}
// Where key j of a sequence is; null beyond the last.
__device__ inline const bfloat16* key_of(const Problem& p, const Rows<const bfloat16>& matrix,
                                         std::int64_t first_key, int j, int head, int width) {
  if (j >= p.length.keys) return nullptr;
  return matrix[first_key + j] + static_cast<std::int64_t>(head) * width;
}

}  // namespace gda::cuda::tiled
