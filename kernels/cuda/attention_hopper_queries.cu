// dq: as the forward pass goes, with the gradients of scores in place of weights.
#include "attention_hopper_gradients.cuh"
#include "attention_hopper_launch.cuh"
#include "attention_hopper_rows.cuh"

namespace gda::cuda::hopper {
namespace {

template <int kD, int kDv>
struct QueryMemory {
  using Stream = KeyStream<kGradientSteps<kD, kDv>, kD, kDv, 3, 2>;
  static constexpr int kQ = 0;
  static constexpr int kDout = kQ + Tile<kRows, kD>::kBytes;
  static constexpr int kStream = kDout + Tile<kRows, kDv>::kBytes;
  static constexpr int kScratch = kStream + Stream::kBytes;
  static constexpr int kBytes = kScratch + kWarps * static_cast<int>(sizeof(int));
};

// A thread's two rows: what scores become gradients with.
struct RowStatistics {
  float lse[2];  // in powers of two
  float delta[2];

  __device__ RowStatistics(const PackRows& rows, const Gradients& g, int first) {
    for (int half = 0; half < 2; ++half) {
      const int m = first + warp_row() + sum_row(2 * half);
      const bool exists = m < rows.count();
      lse[half] = exists ? g.lse[rows.statistic(m)] * kLog2E : 0.0F;
      delta[half] = exists ? g.delta[rows.statistic(m)] : 0.0F;
    }
  }
};

template <int kD, int kDv>
__global__ void __launch_bounds__(kThreads, 1)
    backward_query_rows(const Problem p, Gradients g, Rows<bfloat16> dq) {
  using Memory = QueryMemory<kD, kDv>;
  constexpr int kSteps = kGradientSteps<kD, kDv>;
  const PackRows rows = rows_of_block(p);
  const int first = first_row_of_block();
  if (first >= rows.count()) return;  // the whole block
  const auto keys = seen_keys<kSteps>(rows, first, shared_memory<int>(Memory::kScratch, kWarps));
  const SeenByRows seen(rows, first);
  const Tile<kRows, kD> q(Memory::kQ);
  const Tile<kRows, kDv> dout(Memory::kDout);
  const typename Memory::Stream stream(rows, Memory::kStream, keys.first_step());
  const float scale = p.scale * kLog2E;
  Sums<kSteps / 8> scores;
  Sums<kSteps / 8> dweights;
  Sums<kD / 8> sums;
  Weights<kSteps> dscores;
  sums.clear();
  load_rows(rows, p.q, first, q);
  load_rows(rows, g.dout, first, dout);
  const RowStatistics statistics(rows, g, first);
  run_pipeline(
      keys.steps(), [&](int i) { stream.load(i); },
      [&](int i) {
        multiply_rows(q, warpgroup() * kGroupRows, stream.key_tile(i), scores);
        multiply_rows(dout, warpgroup() * kGroupRows, stream.value_tile(i), dweights);
      },
      [&](int i) {
        wait_for_products<1>(scores.value, dweights.value);
        const int key = stream.first + i * kSteps;
        if (keys.needs_mask(key)) seen.mask(key, scores);
#pragma unroll
        for (int n = 0; n < kSteps / 8; ++n) {
#pragma unroll
          for (int c = 0; c < 4; ++c) {
            const float weight =
                exp2_approximate(scores.value[n][c] * scale - statistics.lse[c / 2]);
            scores.value[n][c] = weight * (dweights.value[n][c] - statistics.delta[c / 2]);
          }
        }
      },
      [&](int i) { multiply_columns(dscores, stream.key_tile(i), sums); },
      [&] { wait_for_products<0>(sums.value); }, [&] { dscores.round(scores); });
  const float factor[2] = {p.scale, p.scale};
  store_rows<kD>(rows, first, sums, factor, dq);
}

}  // namespace

void backward_queries(const Context& context, const AttentionShape& shape, const Problem& p,
                      const Gradients& g, const Tensor& dq) {
  with_widths(shape, [&]<int kD, int kDv>() {
    launch(context, "attention_backward", backward_query_rows<kD, kDv>,
           {.blocks = row_grid(p, shape.batch),
            .threads = kThreads,
            .shared_bytes = QueryMemory<kD, kDv>::kBytes},
           p, g, rows_of<bfloat16>(dq));
  });
}

}  // namespace gda::cuda::hopper
