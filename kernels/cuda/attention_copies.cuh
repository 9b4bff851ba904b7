// Copies of rows from global memory into tiles, which the threads of a block begin together.
//
// A row is taken by as many neighbouring threads as the largest power of two that divides its
// chunks, so that a thread's columns are the same in all rows. Where its rows are is computed once;
// from there on addresses are sums of constants and of the matrix's stride.
#pragma once

#include "attention_tiles.cuh"

namespace gda::cuda::tiled {

template <int kWidth, int kThreads>
struct CopyShare {
  static constexpr int kChunks = kWidth / kChunk;
  static constexpr int kLanes = kChunks & -kChunks;
  static constexpr int kColumnStep = kLanes * kChunk;
  static constexpr int kRowStep = kThreads / kLanes;

  __device__ static int row() { return static_cast<int>(threadIdx.x) / kLanes; }
  __device__ static int column() { return static_cast<int>(threadIdx.x) % kLanes * kChunk; }

  // A thread's chunks of one row: `from` is the first of them in global memory.
  template <int kRows>
  __device__ static void copy(const Tile<kWidth, kRows>& tile, int tile_row, const bfloat16* from,
                              bool valid) {
    GDA_UNROLL
    for (int n = 0; n < kWidth; n += kColumnStep) {
      copy_async_16(tile.chunk(tile_row, column() + n), from + n, valid);
    }
  }
};

// Neighbouring rows of a matrix, keys or values of one head, tile by tile.
template <int kWidth, int kThreads>
class RowStream {
 public:
  // From `first`, which is column 0 of row 0.
  __device__ RowStream(const bfloat16* first, std::int64_t stride)
      : next_(first + Share::row() * stride + Share::column()), stride_(stride) {}

  // Begins to copy the next kTile rows, of which `left` exist: zeros for the others.
  __device__ void copy_next(const Tile<kWidth>& tile, int left) {
    if (left >= kTile) {  // the whole block
      copy_rows(tile, [](int) { return true; });
    } else {
      copy_rows(tile, [&](int row) { return row < left; });
    }
    next_ += kTile * stride_;
  }

 private:
  using Share = CopyShare<kWidth, kThreads>;
  static_assert(kTile % Share::kRowStep == 0);

  template <class Exists>
  __device__ void copy_rows(const Tile<kWidth>& tile, const Exists& exists) const {
    GDA_UNROLL
    for (int i = 0; i < kTile; i += Share::kRowStep) {
      Share::copy(tile, Share::row() + i, next_ + i * stride_, exists(Share::row() + i));
    }
  }

  const bfloat16* next_;  // this thread's first chunk
  std::int64_t stride_;
};

// Begins to copy rows [first, first + kRows) of a pack, from q or what is shaped as q; zeros beyond
// the last.
template <int kThreads, int kWidth, int kRows>
__device__ void copy_pack_rows(const PackRows& rows, const Rows<const bfloat16>& matrix, int first,
                               const Tile<kWidth, kRows>& tile) {
  using Share = CopyShare<kWidth, kThreads>;
  static_assert(kRows % Share::kRowStep == 0);
  for (int i = Share::row(); i < kRows; i += Share::kRowStep) {
    const int m = first + i;
    const bool exists = m < rows.count();
    const bfloat16* row = exists ? matrix[rows.first_row + rows.query(m)] +
                                       static_cast<std::int64_t>(rows.head(m)) * kWidth
                                 : matrix.data;
    Share::copy(tile, i, row + Share::column(), exists);
  }
}

// Begins to copy keys from row `first` of k or v on, of which `left` exist: zeros for the others.
template <int kThreads, int kWidth>
__device__ void copy_keys(const Rows<const bfloat16>& matrix, std::int64_t first, int left,
                          int head, const Tile<kWidth>& tile) {
  RowStream<kWidth, kThreads>(matrix[first] + head * kWidth, matrix.stride).copy_next(tile, left);
}

// The tiles of keys and values that a tile of queries sees, in order: one is in shared memory while
// the next is on its way (kStages 2), or takes its place.
//
//   for (tiles.begin(); tiles.there(); tiles.next()) ... tiles.k() ...
//
// All threads of the block go through it together; a warp may skip what is between.
template <int kD, int kDv, int kStages, int kThreads>
class KeyTiles {
 public:
  __device__ KeyTiles(const PackRows& rows, KeyRange keys, int k_offset, int v_offset)
      : k_offset_(k_offset),
        v_offset_(v_offset),
        key_(keys.begin / kTile * kTile),
        end_(keys.end),
        k_rows_(rows.p.k[rows.first_key + key_] + rows.p.packs.key[rows.pack] * kD,
                rows.p.k.stride),
        v_rows_(rows.p.v[rows.first_key + key_] + rows.p.packs.value[rows.pack] * kDv,
                rows.p.v.stride) {}

  // What was copied before, too, is there afterwards.
  __device__ void begin() {
    copy(key_, 0);
    arrive();
  }
  __device__ bool there() const { return key_ < end_; }
  __device__ void next() {
    key_ += kTile;
    if (key_ >= end_) return;
    if constexpr (kStages == 1) {
      __syncthreads();
      copy(key_, 0);
    }
    stage_ = kStages - 1 - stage_;
    arrive();
  }

  __device__ int key() const { return key_; }  // the first
  __device__ Tile<kD> k() const { return k_at(stage_); }
  __device__ Tile<kDv> v() const { return v_at(stage_); }

 private:
  __device__ Tile<kD> k_at(int stage) const {
    return Tile<kD>(k_offset_ + stage * Tile<kD>::kBytes);
  }
  __device__ Tile<kDv> v_at(int stage) const {
    return Tile<kDv>(v_offset_ + stage * Tile<kDv>::kBytes);
  }
  // Of keys from `key` on; those that no row sees are zeros.
  __device__ void copy(int key, int stage) {
    k_rows_.copy_next(k_at(stage), end_ - key);
    v_rows_.copy_next(v_at(stage), end_ - key);
    copy_async_commit();
  }
  __device__ void arrive() {
    copy_async_wait<0>();
    __syncthreads();  // all copies of the tile, and nobody reads the one before
    if (kStages > 1 && key_ + kTile < end_) copy(key_ + kTile, kStages - 1 - stage_);
  }

  int k_offset_, v_offset_;  // in shared memory
  int key_, end_;
  int stage_ = 0;
  RowStream<kD, kThreads> k_rows_;
  RowStream<kDv, kThreads> v_rows_;
};

}  // namespace gda::cuda::tiled
