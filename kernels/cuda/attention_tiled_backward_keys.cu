// dk and dv: by keys.
#include "attention_gradients.cuh"
#include "attention_query_tiles.cuh"

namespace gda::cuda::tiled {
namespace {

template <int kD, int kDv, int kStages>
struct BackwardKeys {
  static constexpr int kThreads = kKeyWarps * kWarp;

  // Bytes of shared memory from here.
  static constexpr int kK = 0;
  static constexpr int kV = kK + Tile<kD>::kBytes;
  static constexpr int kQueries = kV + Tile<kDv>::kBytes;
  static constexpr int kWeights = kQueries + QueryTiles<kD, kDv, kStages>::kBytes;
  static constexpr int kDscores = kWeights + Tile<kTile>::kBytes;
  static constexpr int kBytes = kDscores + Tile<kTile>::kBytes;

  // Of dk and dv, and of scores and what they receive: each warp has half of the columns.
  static constexpr int kBlocks = blocks_that_fit(kThreads, (kD + kDv) / 4 + kTile / 2, kBytes);
};
// scripts/check/attention_sass.json counts blocks by it.
static_assert(BackwardKeys<128, 256, 2>::kBytes == 176160);

// Puts a warp's sums into a tile, rounded, from (row, column).
template <int kColumns>
__device__ void store_sums(const Sums<kColumns>& sums, int row, int column,
                           const Tile<kTile>& tile) {
  GDA_UNROLL
  for (int n = 0; n < kColumns; ++n) {
    GDA_UNROLL
    for (int i = 0; i < 4; i += 2) {
      tile.store_pair(row + sum_row(i), column + 8 * n + sum_column(0),
                      pack_bf16x2(sums.value[n][i], sums.value[n][i + 1]));
    }
  }
}

// A warp's part of dk or dv of 64 keys, kWidth wide: 32 keys by a quarter of the columns, for which
// it loads less than for 16 keys by a half; that, where a quarter is no multiple of 16.
template <int kWidth>
struct KeySums {
  static constexpr int kBlocks = kWidth % 64 == 0 ? 2 : 1;
  static constexpr int kColumns = kWidth / kKeyWarps / kBlocks * 4;  // of the matrix

  int row = warp() % (4 / kBlocks) * 16 * kBlocks;
  int column = warp() / (4 / kBlocks) * kColumns;
  Sums<kColumns / 8> block[kBlocks];

  __device__ static int warp() { return static_cast<int>(threadIdx.x) / kWarp; }
  __device__ void clear() {
    for (auto& one : block) one.clear();
  }
  // += weights^T of, times rows.
  __device__ void add(const Tile<kTile>& weights, const Tile<kWidth>& rows) {
    multiply_transposed(weights, row, rows, column, block);
  }
  // Writes them, times `factor`, to keys [key, key + 64) of a sequence that begins in row `first`
  // of `to`, in the columns of `head`.
  __device__ void store(const Problem& p, std::int64_t first, int key, float factor,
                        const Rows<bfloat16>& to, int head) const {
    GDA_UNROLL
    for (int i = 0; i < 2 * kBlocks; ++i) {
      const int j = key + row + sum_row(0) + 8 * i;
      if (j >= p.length.keys) continue;
      store_row(block[i / 2], i % 2, factor, to[first + j] + head * kWidth + column);
    }
  }
};

// What a warp does of scores: 16 rows of queries and half of the keys.
struct Place {
  int row = static_cast<int>(threadIdx.x) / kWarp % 4 * 16;
  int column = static_cast<int>(threadIdx.x) / kWarp / 4 * (kTile / 2);
};

// Weights of a tile of queries and 64 keys from `key`, and what their scores receive, into tiles.
template <class Queries, int kD, int kDv>
__device__ void store_gradients(const Problem& p, const Queries& queries, const Place& at, int key,
                                const Tile<kD>& k, const Tile<kDv>& v, const Tile<kTile>& weights,
                                const Tile<kTile>& dscores) {
  Sums<kTile / 16> scores;
  Sums<kTile / 16> dweights;
  scores.clear();
  dweights.clear();
  const Sight sight = sight_of<kTile / 2>(queries.keys(), at.row, key + at.column);
  if (sight != Sight::none) {
    multiply_rows(queries.q(), at.row, k, at.column, scores);
    multiply_rows(queries.dout(), at.row, v, at.column, dweights);
    if (sight == Sight::some) mask_scores(queries.keys(), at.row, key + at.column, scores);
    to_gradients(p, queries.statistics(at.row), scores, dweights);
  }
  store_sums(scores, at.row, at.column, weights);
  store_sums(dweights, at.row, at.column, dscores);
}

// A block takes a tile of keys of a value head, and goes through the packs that read it.
template <int kD, int kDv, int kStages>
__global__ void __launch_bounds__(BackwardKeys<kD, kDv, kStages>::kThreads,
                                  BackwardKeys<kD, kDv, kStages>::kBlocks)
    key_tiles(Problem p, Gradients g, Rows<bfloat16> dk, Rows<bfloat16> dv) {
  using Shape = BackwardKeys<kD, kDv, kStages>;
  const int key = static_cast<int>(blockIdx.x) * kTile;
  const int value_head = static_cast<int>(blockIdx.y);
  const Place at;
  const Tile<kD> k(Shape::kK);
  const Tile<kDv> v(Shape::kV);
  const Tile<kTile> weights(Shape::kWeights);
  const Tile<kTile> dscores(Shape::kDscores);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.z) * p.length.keys;
  const int left = min(p.length.keys, p.length.queries + p.length.offset) - key;
  copy_keys<Shape::kThreads>(p.v, first + key, left, value_head, v);
  KeySums<kDv> dv_sums;
  dv_sums.clear();
  for (int pack = 0; pack < p.packs.count; ++pack) {
    if (p.packs.value[pack] != value_head) continue;
    const PackRows rows(p, pack, static_cast<int>(blockIdx.z));
    KeySums<kD> dk_sums;
    dk_sums.clear();
    __syncthreads();  // nobody reads the tiles of the pack before
    copy_keys<Shape::kThreads>(p.k, first + key, left, p.packs.key[pack], k);
    QueryTiles<kD, kDv, kStages> queries(rows, g, key, Shape::kQueries);
    for (queries.begin(); queries.there(); queries.next()) {
      const bool seen = queries.seen();
      if (seen) store_gradients(p, queries, at, key, k, v, weights, dscores);
      __syncthreads();
      if (!seen) continue;
      dv_sums.add(weights, queries.dout());
      dk_sums.add(dscores, queries.q());
    }
    dk_sums.store(p, first, key, p.scale, dk, p.packs.key[pack]);
  }
  copy_async_commit();
  copy_async_wait<0>();  // of a tile that no query sees
  dv_sums.store(p, first, key, 1, dv, value_head);
}

}  // namespace

bool fits_backward_keys(const AttentionShape& shape) {
  return fits<BackwardKeys>(shape);
}

void backward_keys(const Context& context, const AttentionShape& shape, const Problem& p,
                   const Gradients& g, const Tensor& dk, const Tensor& dv) {
  with_widths(shape, [&]<int kD, int kDv>() {
    with_stages<BackwardKeys<kD, kDv, kMostStages>::kBytes>([&]<int kStages>() {
      using Shape = BackwardKeys<kD, kDv, kStages>;
      launch(
          context, "attention_backward", key_tiles<kD, kDv, kStages>,
          {.blocks = {blocks_for(shape.key_length, kTile), static_cast<unsigned>(shape.value_heads),
                      static_cast<unsigned>(shape.batch)},
           .threads = Shape::kThreads,
           .shared_bytes = Shape::kBytes},
          p, g, rows_of<bfloat16>(dk), rows_of<bfloat16>(dv));
    });
  });
}

}  // namespace gda::cuda::tiled
