#include "attention_copies.cuh"
#include "attention_mask.cuh"
#include "attention_softmax.cuh"
#include "attention_tiled_launch.cuh"

namespace gda::cuda::tiled {
namespace {

constexpr auto kLn2 = static_cast<float>(M_LN2);

template <int kD, int kDv, int kStages>
struct Forward {
  static constexpr int kWarps = kQueryWarps<kDv>;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kRows = kWarps * 16;

  // Bytes of shared memory from here.
  static constexpr int kQ = 0;
  static constexpr int kK = kQ + Tile<kD, kRows>::kBytes;
  static constexpr int kV = kK + kStages * Tile<kD>::kBytes;
  static constexpr int kRowKeys = kV + kStages * Tile<kDv>::kBytes;
  static constexpr int kScratch = kRowKeys + RowKeys<kRows>::kBytes;
  static constexpr int kBytes = kScratch + kWarps * static_cast<int>(sizeof(int));

  static constexpr int kBlocks = blocks_that_fit(kThreads, kDv / 2 + kTile / 2, kBytes);
};
// scripts/check/attention_sass.json counts blocks by it.
static_assert(Forward<128, 256, 2>::kBytes == 138272);

// Writes a warp's 16 rows from row `first` of a pack: sums over totals, and log-sum-exp.
template <int kDv>
__device__ void store_rows(const PackRows& rows, int first, const Sums<kDv / 8>& sums,
                           const Softmax& state, const Rows<bfloat16>& out, float* lse) {
  for (int half = 0; half < 2; ++half) {
    float total = state.total[half];
    for (int offset = 1; offset <= 2; offset *= 2) {
      total += __shfl_xor_sync(kWholeWarp, total, offset);
    }
    const int m = first + sum_row(2 * half);
    if (m >= rows.count()) continue;
    const float factor = 1 / total;
    bfloat16* to = out[rows.first_row + rows.query(m)] + rows.head(m) * kDv + sum_column(0);
    for (int n = 0; n < kDv / 8; ++n) {
      const auto& column = sums.value[n];
      *reinterpret_cast<std::uint32_t*>(to + 8 * n) =
          pack_bf16x2(column[2 * half] * factor, column[2 * half + 1] * factor);
    }
    if (threadIdx.x % 4 == 0) {
      // Fused by hand, so that it has the same bits beside the product of store_largest.
      lse[rows.statistic(m)] = std::fma(kLn2, state.largest[half], std::log(total));
    }
  }
}

// And their largest scores, apart from what every pass writes.
__device__ inline void store_largest(const PackRows& rows, int first, const Softmax& state,
                                     float* row_max) {
  for (int half = 0; half < 2; ++half) {
    const int m = first + sum_row(2 * half);
    if (m >= rows.count() || threadIdx.x % 4 != 0) continue;
    row_max[rows.statistic(m)] = kLn2 * state.largest[half];
  }
}

template <int kD, int kDv, int kStages>
__global__ void __launch_bounds__(Forward<kD, kDv, kStages>::kThreads,
                                  Forward<kD, kDv, kStages>::kBlocks)
    forward_tiles(Problem p, Rows<bfloat16> out, float* lse, float* row_max) {
  using Shape = Forward<kD, kDv, kStages>;
  const PackRows rows(p, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z));
  // Tiles with the most keys first.
  const int first = (static_cast<int>(gridDim.x) - 1 - static_cast<int>(blockIdx.x)) * Shape::kRows;
  if (first >= rows.count()) return;  // the whole block
  const int row = static_cast<int>(threadIdx.x) / kWarp * 16;
  const Tile<kD, Shape::kRows> q(Shape::kQ);
  const RowKeys<Shape::kRows> row_keys(Shape::kRowKeys);
  copy_pack_rows<Shape::kThreads>(rows, p.q, first, q);
  row_keys.set_rows(rows, first);
  const KeyRange keys =
      keys_of_tile<Shape::kRows>(rows, first, shared_memory<int>(Shape::kScratch, Shape::kWarps));
  KeyTiles<kD, kDv, kStages, Shape::kThreads> tiles(rows, keys, Shape::kK, Shape::kV);
  Softmax state(p.scale * static_cast<float>(M_LOG2E));
  Sums<kDv / 8> sums;
  sums.clear();
  for (tiles.begin(); tiles.there(); tiles.next()) {
    const Sight sight = sight_of<kTile>(row_keys, row, tiles.key());
    if (sight == Sight::none) continue;
    Sums<kTile / 8> scores;
    scores.clear();
    multiply_rows(q, row, tiles.k(), 0, scores);
    if (sight == Sight::some) mask_scores(row_keys, row, tiles.key(), scores);
    to_weights(scores, state, sums);
    multiply_sums(scores, tiles.v(), 0, sums);
  }
  store_rows<kDv>(rows, first + row, sums, state, out, lse);
  if (row_max != nullptr) store_largest(rows, first + row, state, row_max);
}

}  // namespace

bool fits_forward(const AttentionShape& shape) {
  return fits<Forward>(shape);
}

void attention_forward(const Context& context, const ops::AttentionForward& a) {
  const Problem p = problem_of(a.shape, a.q, a.k, a.v, a.first_key);
  with_widths(a.shape, [&]<int kD, int kDv>() {
    with_stages<Forward<kD, kDv, kMostStages>::kBytes>([&]<int kStages>() {
      using Shape = Forward<kD, kDv, kStages>;
      launch(context, "attention_forward", forward_tiles<kD, kDv, kStages>,
             {.blocks = pack_grid(p, Shape::kRows, a.shape.batch),
              .threads = Shape::kThreads,
              .shared_bytes = Shape::kBytes},
             p, rows_of<bfloat16>(a.out), a.lse.data<float>(),
             a.row_max ? a.row_max.data<float>() : nullptr);
    });
  });
}

}  // namespace gda::cuda::tiled
