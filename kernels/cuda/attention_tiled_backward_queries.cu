// dq: as the forward pass goes, by rows of queries.
#include "attention_copies.cuh"
#include "attention_gradients.cuh"
#include "attention_mask.cuh"

namespace gda::cuda::tiled {
namespace {

template <int kD, int kDv, int kStages>
struct BackwardQueries {
  static constexpr int kWarps = kQueryWarps<kDv>;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kRows = kWarps * 16;

  // Bytes of shared memory from here.
  static constexpr int kQ = 0;
  static constexpr int kDout = kQ + Tile<kD, kRows>::kBytes;
  static constexpr int kK = kDout + Tile<kDv, kRows>::kBytes;
  static constexpr int kV = kK + kStages * Tile<kD>::kBytes;
  static constexpr int kRowKeys = kV + kStages * Tile<kDv>::kBytes;
  static constexpr int kScratch = kRowKeys + RowKeys<kRows>::kBytes;
  static constexpr int kBytes = kScratch + kWarps * static_cast<int>(sizeof(int));

  static constexpr int kBlocks = blocks_that_fit(kThreads, kD / 2 + kTile, kBytes);
};
// scripts/check/attention_sass.json counts blocks by it.
static_assert(BackwardQueries<128, 256, 2>::kBytes == 205856);

__device__ RowStatistics row_statistics(const PackRows& rows, const Gradients& g, int first) {
  RowStatistics statistics = {};
  for (int half = 0; half < 2; ++half) {
    const int m = first + sum_row(2 * half);
    if (m >= rows.count()) continue;
    statistics.lse[half] = g.lse[rows.statistic(m)] * static_cast<float>(M_LOG2E);
    statistics.delta[half] = g.delta[rows.statistic(m)];
  }
  return statistics;
}

template <int kD, int kDv, int kStages>
__global__ void __launch_bounds__(BackwardQueries<kD, kDv, kStages>::kThreads,
                                  BackwardQueries<kD, kDv, kStages>::kBlocks)
    query_tiles(Problem p, Gradients g, Rows<bfloat16> dq) {
  using Shape = BackwardQueries<kD, kDv, kStages>;
  const PackRows rows(p, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z));
  // Tiles with the most keys first.
  const int first = (static_cast<int>(gridDim.x) - 1 - static_cast<int>(blockIdx.x)) * Shape::kRows;
  if (first >= rows.count()) return;  // the whole block
  const int row = static_cast<int>(threadIdx.x) / kWarp * 16;
  const Tile<kD, Shape::kRows> q(Shape::kQ);
  const Tile<kDv, Shape::kRows> dout(Shape::kDout);
  const RowKeys<Shape::kRows> row_keys(Shape::kRowKeys);
  copy_pack_rows<Shape::kThreads>(rows, p.q, first, q);
  copy_pack_rows<Shape::kThreads>(rows, g.dout, first, dout);
  row_keys.set_rows(rows, first);
  const KeyRange keys =
      keys_of_tile<Shape::kRows>(rows, first, shared_memory<int>(Shape::kScratch, Shape::kWarps));
  const RowStatistics statistics = row_statistics(rows, g, first + row);
  KeyTiles<kD, kDv, kStages, Shape::kThreads> tiles(rows, keys, Shape::kK, Shape::kV);
  Sums<kD / 8> sums;
  sums.clear();
  for (tiles.begin(); tiles.there(); tiles.next()) {
    const Sight sight = sight_of<kTile>(row_keys, row, tiles.key());
    if (sight == Sight::none) continue;
    Sums<kTile / 8> scores;
    Sums<kTile / 8> dweights;
    scores.clear();
    dweights.clear();
    multiply_rows(q, row, tiles.k(), 0, scores);
    multiply_rows(dout, row, tiles.v(), 0, dweights);
    if (sight == Sight::some) mask_scores(row_keys, row, tiles.key(), scores);
    to_gradients(p, statistics, scores, dweights);
    multiply_sums(dweights, tiles.k(), 0, sums);
  }
  for (int half = 0; half < 2; ++half) {
    const int m = first + row + sum_row(2 * half);
    if (m >= rows.count()) continue;
    store_row(sums, half, p.scale, dq[rows.first_row + rows.query(m)] + rows.head(m) * kD);
  }
}

}  // namespace

bool fits_backward_queries(const AttentionShape& shape) {
  return fits<BackwardQueries>(shape);
}

void backward_queries(const Context& context, const AttentionShape& shape, const Problem& p,
                      const Gradients& g, const Tensor& dq) {
  with_widths(shape, [&]<int kD, int kDv>() {
    with_stages<BackwardQueries<kD, kDv, kMostStages>::kBytes>([&]<int kStages>() {
      using Shape = BackwardQueries<kD, kDv, kStages>;
      launch(context, "attention_backward", query_tiles<kD, kDv, kStages>,
             {.blocks = pack_grid(p, Shape::kRows, shape.batch),
              .threads = Shape::kThreads,
              .shared_bytes = Shape::kBytes},
             p, g, rows_of<bfloat16>(dq));
    });
  });
}

}  // namespace gda::cuda::tiled
