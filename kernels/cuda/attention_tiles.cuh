// What the tiled attention kernels work on: packs of heads, and tiles in shared memory.
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

// kRows rows of kWidth bf16 in shared memory, padded by 16 bytes, so that the eight rows of an
// ldmatrix lie in different banks.
template <int kWidth, int kRows = kTile>
struct Tile {
  static constexpr int kStride = kWidth + kChunk;
  static constexpr int kElements = kRows * kStride;
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
};

// The keys that rows [first, first + kRows) of a pack see, any of them: [begin, end).
struct KeyRange {
  int begin, end;
};

template <int kRows = kTile>
__device__ KeyRange keys_of_tile(const PackRows& rows, int first, Shared<int> scratch) {
  const int last = min(first + kRows, rows.count()) - 1;
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

}  // namespace gda::cuda::tiled
