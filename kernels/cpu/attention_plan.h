// How attention on the CPU is cut into tiles and tasks.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/ops/attention.h"
#include "isa/attention.h"

namespace gda::cpu {

// Sizes of tiles; measured on Zen 3 (32 KiB L1, 512 KiB L2), see tests/bench/attention_bench.cpp.
struct AttentionPolicy {
  // Queries a tile: 3 cache lines, an odd number, so that a tile's columns spread over all sets of
  // the cache; a multiple of the product's 6 rows.
  static constexpr std::int64_t kQueries = 48;
  // Keys a tile: with 48 queries the scores take 18 KiB, within L1 beside what streams past them.
  static constexpr std::int64_t kKeys = 96;
  // On the diagonal products run in slices of so many rows, each only as long as some query sees.
  static constexpr std::int64_t kDiagonalRows = 12;
  // Query heads a forward task: enough to share K and V tiles, few enough that the task's outputs
  // stay in L2 (8 * 48 * 128 * 4 bytes = 192 KiB).
  static constexpr std::int64_t kHeadsPerTask = 8;
  // Backward sums dK and dV of a group of heads in one task; a call with fewer tasks than this
  // splits each task's queries. It does not depend on the threads: results are the same bits on
  // any number of them.
  static constexpr std::int64_t kBackwardTasks = 16;
};

// The microkernels of the instruction set in use.
const AttentionKernels& attention_kernels();

// Query heads that share keys or values, directly or through others, ordered so that heads with
// the same value head, then the same key head, are neighbours. Different groups share nothing, so
// tasks over groups never write the same dK or dV.
struct HeadGroup {
  std::vector<std::int64_t> query_heads;
  std::vector<std::int64_t> key_heads;    // distinct
  std::vector<std::int64_t> value_heads;  // distinct
  // Per query head: where its key and value head stand in the lists above.
  std::vector<std::size_t> key_index;
  std::vector<std::size_t> value_index;
};
std::vector<HeadGroup> group_heads(const AttentionShape& shape);

// At most kHeadsPerTask neighbours of a group: the heads whose tiles are worked on together.
struct HeadRun {
  const HeadGroup* group;
  std::size_t begin, end;
};
std::vector<HeadRun> cut_runs(const HeadGroup& group);

// Columns rounded up to the kernels' width.
std::int64_t padded_width(std::int64_t width);
// A row stride for tiles of this width: an odd number of cache lines, so that the lines under each
// other do not all fall into the same few sets.
std::int64_t tile_stride(std::int64_t width);

// A tile of queries: rows [begin, begin + count) of a sequence, and the keys that they see.
struct QueryTile {
  QueryTile(const AttentionShape& shape, const Tensor& first_key, std::int64_t batch,
            std::int64_t tile);

  std::int64_t row;    // of q: b * Tq + begin
  std::int64_t begin;  // position of the first query among the keys
  std::int64_t count;
  std::int64_t width;               // count, padded
  std::int64_t first_key, end_key;  // keys that any query of the tile sees
  bool has_documents = false;       // queries differ in the first key that they see
  // Per query, the keys that it sees; padding sees what the last query does.
  std::int32_t first[AttentionPolicy::kQueries];
  std::int32_t last[AttentionPolicy::kQueries];
};
std::int64_t query_tiles(const AttentionShape& shape);

// A tile of keys against a tile of queries.
struct ScoreTile {
  ScoreTile(const QueryTile& queries, std::int64_t first_key);

  const QueryTile& queries;
  std::int64_t key;   // position of row 0
  std::int64_t keys;  // rows
  bool on_diagonal;   // its last key is hidden from its first query
  TileMask mask;

  const TileMask* mask_if_needed() const {
    return on_diagonal || queries.has_documents ? &mask : nullptr;
  }
  // The products below leave out what causality hides.
  // c [keys, queries] = a [keys, depth] b [depth, queries].
  void key_by_query(const AttentionKernels& kernels, TileProduct product) const;
  // c [keys, n] += a [keys, queries] b [queries, n].
  void sum_over_queries(const AttentionKernels& kernels, TileProduct product) const;
  // c [queries, n] += a^T [queries, keys] b [keys, n], a stored as [keys, queries].
  void sum_over_keys(const AttentionKernels& kernels, TileProduct product) const;
};

// The K and V rows of one tile, loaded when a head wants others than the head before it.
struct KeyValueTile {
  float* key;    // [kKeys, d]
  float* value;  // [kKeys, d_v]
  std::int64_t key_head = -1;
  std::int64_t value_head = -1;

  void load(const AttentionKernels& kernels, const AttentionShape& shape, const Tensor& k,
            const Tensor& v, std::int64_t row, std::int64_t rows, std::int64_t query_head);
};

// Copies between tensors of f32 or bf16 and f32 tiles.
void load_tile(const AttentionKernels& kernels, const Tensor& source, std::int64_t row,
               std::int64_t rows, std::int64_t column, std::int64_t width, float* tile);
void store_tile(const AttentionKernels& kernels, const float* tile, const float* row_factor,
                const Tensor& target, std::int64_t row, std::int64_t rows, std::int64_t column,
                std::int64_t width);

}  // namespace gda::cpu
