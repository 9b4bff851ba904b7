// dv: keys stay, and weights multiply the gradients of outputs that go by, pack after pack of those
// that read the value head.
#include "attention_hopper_columns.cuh"
#include "attention_hopper_launch.cuh"

namespace gda::cuda::hopper {
namespace {

template <int kD, int kDv>
struct ValueMemory {
  using Stream = QueryStream<kValueGradientSteps<kD, kDv>, kD, kDv, 2, 3>;
  static constexpr int kK = 0;
  static constexpr int kStream = kK + Tile<kRows, kD>::kBytes;
  static constexpr int kScratch = kStream + Stream::kBytes;
  static constexpr int kBytes = kScratch + kWarps * static_cast<int>(sizeof(int));
};

template <int kD, int kDv>
__global__ void __launch_bounds__(kThreads, 1)
    backward_value_rows(const Problem p, const Gradients g, int value_heads, Rows<bfloat16> dv) {
  using Memory = ValueMemory<kD, kDv>;
  constexpr int kSteps = kValueGradientSteps<kD, kDv>;
  const int value_head = static_cast<int>(blockIdx.x) % value_heads;
  const int sequence = static_cast<int>(blockIdx.x) / value_heads;
  const BlockKeys keys(p, sequence);
  const Tile<kRows, kD> k(Memory::kK);
  const std::int64_t first_row = static_cast<std::int64_t>(sequence) * p.length.queries;
  const QuerySteps<kSteps> queries(p, first_row, keys.first, keys.last,
                                   shared_memory<int>(Memory::kScratch, kWarps));
  typename Memory::Stream stream(p, g, Memory::kStream, queries, first_row);
  const float scale = p.scale * kLog2E;
  Sums<kSteps / 8> scores;
  Sums<kDv / 8> sums;
  Weights<kSteps> weights;
  sums.clear();
  for (int pack = 0; pack < p.packs.count; ++pack) {
    if (p.packs.value[pack] != value_head) continue;
    const int steps = stream.begin(pack);
    if (steps == 0) continue;
    __syncthreads();  // nobody reads the last pack's any more
    keys.load(p.k, p.packs.key[pack], k);
    run_pipeline(
        steps, [&](int i) { stream.load(i); },
        [&](int i) { multiply_rows(k, warpgroup() * kGroupRows, stream.query_tile(i), scores); },
        [&](int i) {
          wait_for_products<1>(scores.value);
          stream.mask(i, keys.first + warp_row(), keys.first, keys.last, scores);
#pragma unroll
          for (int n = 0; n < kSteps / 8; ++n) {
#pragma unroll
            for (int c = 0; c < 4; ++c) {
              const int column = 8 * n + sum_column(c);
              scores.value[n][c] =
                  exp2_approximate(scores.value[n][c] * scale - stream.lse(i)[column] * kLog2E);
            }
          }
        },
        [&](int i) { multiply_columns(weights, stream.dout_tile(i), sums); },
        [&] { wait_for_products<0>(sums.value); }, [&] { weights.round(scores); });
  }
  keys.template store<kDv>(sums, 1, dv, value_head);
}

}  // namespace

void backward_values(const Context& context, const AttentionShape& shape, const Problem& p,
                     const Gradients& g, const Tensor& dv) {
  with_widths(shape, [&]<int kD, int kDv>() {
    launch(context, "attention_backward", backward_value_rows<kD, kDv>,
           {.blocks = key_grid(shape, shape.value_heads),
            .threads = kThreads,
            .shared_bytes = ValueMemory<kD, kDv>::kBytes},
           p, g, static_cast<int>(shape.value_heads), rows_of<bfloat16>(dv));
  });
}

}  // namespace gda::cuda::hopper
