// The tiles of queries that the backward pass by keys goes through.
#pragma once

#include "attention_copies.cuh"
#include "attention_gradients.cuh"
#include "attention_mask.cuh"

namespace gda::cuda::tiled {

// What is known of the rows of a tile of queries before their q and dout are there: found by one
// thread a row, two tiles ahead of its use, so that copies divide nothing and wait for nothing.
struct QueryRows {
  static constexpr int kPlaceBytes = kTile * static_cast<int>(sizeof(std::int64_t));
  static constexpr int kFloatBytes = kTile * static_cast<int>(sizeof(float));
  static constexpr int kWarps = kTile / kWarp;  // that find rows
  static constexpr int kSeen = 2 * kPlaceBytes + RowKeys<kTile>::kBytes + 2 * kFloatBytes;
  static constexpr int kBytes = kSeen + 16;  // so that what follows is aligned
  static_assert(kWarps * sizeof(int) <= 16);

  // A row, while it is on its way from global memory.
  struct Row {
    std::int64_t q = -1;  // elements from the matrix's begin; -1: there is no such row
    std::int64_t dout = -1;
    int lowest = INT32_MAX;
    int highest = -1;
    float lse = 0;  // in powers of two
    float delta = 0;
  };

  Shared<std::int64_t> q;
  Shared<std::int64_t> dout;
  RowKeys<kTile> keys;
  Shared<float> lse;
  Shared<float> delta;
  Shared<int> seen;  // by each warp's rows: a key of the tile

  __device__ explicit QueryRows(int byte_offset)
      : q(shared_memory<std::int64_t>(byte_offset, kTile)),
        dout(shared_memory<std::int64_t>(byte_offset + kPlaceBytes, kTile)),
        keys(byte_offset + 2 * kPlaceBytes),
        lse(shared_memory<float>(byte_offset + 2 * kPlaceBytes + RowKeys<kTile>::kBytes, kTile)),
        delta(shared_memory<float>(byte_offset + kSeen - kFloatBytes, kTile)),
        seen(shared_memory<int>(byte_offset + kSeen, kWarps)) {}

  template <int kD, int kDv>
  __device__ static Row load(const PackRows& rows, const Gradients& g, int m) {
    Row row;
    if (m >= rows.count()) return row;
    const std::int64_t matrix_row = rows.first_row + rows.query(m);
    const int head = rows.head(m);
    row.q = matrix_row * rows.p.q.stride + head * kD;
    row.dout = matrix_row * g.dout.stride + head * kDv;
    row.lowest = rows.first_key_of(m);
    row.highest = rows.last_key_of(m);
    row.lse = g.lse[rows.statistic(m)] * static_cast<float>(M_LOG2E);
    row.delta = g.delta[rows.statistic(m)];
    return row;
  }
  // By whole warps; keys of the tile are [key, key + kTile).
  __device__ void set(int i, const Row& row, int key) const {
    const bool any = __any_sync(kWholeWarp, row.lowest < key + kTile && row.highest >= key);
    if (i % kWarp == 0) seen[i / kWarp] = any ? 1 : 0;
    q[i] = row.q;
    dout[i] = row.dout;
    keys.set(i, row.lowest, row.highest);
    lse[i] = row.lse;
    delta[i] = row.delta;
  }
};

// Rows of a pack from the first that may see `key`, tile by tile, as KeyTiles
// (attention_copies.cuh) has keys. Between two tiles the block has to meet once, before which only
// this tile's q, dout, keys and statistics may be read, and after which only its q and dout.
template <int kD, int kDv, int kStages>
class QueryTiles {
  static constexpr int kThreads = kKeyWarps * kWarp;
  static constexpr int kStageBytes = Tile<kD>::kBytes + Tile<kDv>::kBytes;

 public:
  static constexpr int kBytes = 2 * QueryRows::kBytes + kStages * kStageBytes;

  __device__ QueryTiles(const PackRows& rows, const Gradients& g, int key, int byte_offset)
      : rows_(rows),
        g_(g),
        key_(key),
        offset_(byte_offset),
        row_(max(key - rows.p.length.offset, 0) * rows.size / kTile * kTile) {}

  // What was copied before, too, is there afterwards.
  __device__ void begin() {
    if (finds_rows()) {
      for (int ahead = 0; ahead < 2; ++ahead) {
        rows_at(ahead).set(thread(), find(row_ + ahead * kTile), key_);
      }
    }
    __syncthreads();
    if (there()) copy(0, 0);
    arrive();
  }
  __device__ bool there() const { return row_ < rows_.count(); }
  __device__ void next() {
    if (finds_rows()) rows_at(slot_).set(thread(), found_, key_);
    row_ += kTile;
    if (!there()) return;
    slot_ = 1 - slot_;
    if constexpr (kStages == 1) {
      __syncthreads();
      copy(slot_, 0);
    }
    arrive();
  }

  // Whether any row sees a key; q and dout are there only then. The same for the whole block.
  __device__ bool seen() const { return seen_at(slot_); }
  __device__ Tile<kD> q() const { return q_at(kStages > 1 ? slot_ : 0); }
  __device__ Tile<kDv> dout() const { return dout_at(kStages > 1 ? slot_ : 0); }
  __device__ RowKeys<kTile> keys() const { return rows_at(slot_).keys; }
  __device__ RowStatistics statistics(int row) const {
    const QueryRows found = rows_at(slot_);
    const int i = row + sum_row(0);
    return {{found.lse[i], found.lse[i + 8]}, {found.delta[i], found.delta[i + 8]}};
  }

 private:
  __device__ static int thread() { return static_cast<int>(threadIdx.x); }
  __device__ static bool finds_rows() { return thread() < kTile; }
  __device__ QueryRows::Row find(int first) const {
    return QueryRows::load<kD, kDv>(rows_, g_, first + thread());
  }
  __device__ QueryRows rows_at(int slot) const {
    return QueryRows(offset_ + slot * QueryRows::kBytes);
  }
  __device__ bool seen_at(int slot) const {
    const Shared<int> seen = rows_at(slot).seen;
    return seen[0] != 0 || seen[1] != 0;
  }
  __device__ int stage_at(int stage) const {
    return offset_ + 2 * QueryRows::kBytes + stage * kStageBytes;
  }
  __device__ Tile<kD> q_at(int stage) const { return Tile<kD>(stage_at(stage)); }
  __device__ Tile<kDv> dout_at(int stage) const {
    return Tile<kDv>(stage_at(stage) + Tile<kD>::kBytes);
  }

  __device__ void copy(int slot, int stage) const {
    if (!seen_at(slot)) return;
    const QueryRows found = rows_at(slot);
    copy_rows(q_at(stage), rows_.p.q.data, found.q);
    copy_rows(dout_at(stage), g_.dout.data, found.dout);
    copy_async_commit();
  }
  template <int kWidth>
  __device__ static void copy_rows(const Tile<kWidth>& tile, const bfloat16* data,
                                   const Shared<std::int64_t>& places) {
    using Share = CopyShare<kWidth, kThreads>;
    GDA_UNROLL
    for (int i = 0; i < kTile; i += Share::kRowStep) {
      const std::int64_t place = places[Share::row() + i];
      const bool exists = place >= 0;
      Share::copy(tile, Share::row() + i, data + (exists ? place : 0) + Share::column(), exists);
    }
  }
  __device__ void arrive() {
    copy_async_wait<0>();
    __syncthreads();  // all copies of the tile, and nobody reads the one before
    if (kStages > 1 && row_ + kTile < rows_.count()) copy(1 - slot_, 1 - slot_);
    if (finds_rows()) found_ = find(row_ + 2 * kTile);
  }

  const PackRows& rows_;
  const Gradients& g_;
  int key_;
  int offset_;
  int row_;
  int slot_ = 0;  // of this tile's rows and, where there are two, stage
  QueryRows::Row found_;
};

}  // namespace gda::cuda::tiled
