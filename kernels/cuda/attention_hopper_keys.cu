// dk: keys and their values stay, and gradients of scores multiply the queries that go by.
#include "attention_hopper_columns.cuh"
#include "attention_hopper_launch.cuh"

namespace gda::cuda::hopper {
namespace {

template <int kD, int kDv>
struct KeyMemory {
  using Stream = QueryStream<kGradientSteps<kD, kDv>, kD, kDv, 3, 2>;
  static constexpr int kK = 0;
  static constexpr int kV = kK + Tile<kRows, kD>::kBytes;
  static constexpr int kStream = kV + Tile<kRows, kDv>::kBytes;
  static constexpr int kScratch = kStream + Stream::kBytes;
  static constexpr int kBytes = kScratch + kWarps * static_cast<int>(sizeof(int));
};

template <int kD, int kDv>
__global__ void __launch_bounds__(kThreads, 1)
    backward_key_rows(const Problem p, const Gradients g, Rows<bfloat16> dk) {
  using Memory = KeyMemory<kD, kDv>;
  constexpr int kSteps = kGradientSteps<kD, kDv>;
  const int pack = static_cast<int>(blockIdx.x) % p.packs.count;
  const int sequence = static_cast<int>(blockIdx.x) / p.packs.count;
  const BlockKeys keys(p, sequence);
  const Tile<kRows, kD> k(Memory::kK);
  const Tile<kRows, kDv> v(Memory::kV);
  const std::int64_t first_row = static_cast<std::int64_t>(sequence) * p.length.queries;
  const QuerySteps<kSteps> queries(p, first_row, keys.first, keys.last,
                                   shared_memory<int>(Memory::kScratch, kWarps));
  typename Memory::Stream stream(p, g, Memory::kStream, queries, first_row);
  const int steps = stream.begin(pack);
  const float scale = p.scale * kLog2E;
  Sums<kSteps / 8> scores;
  Sums<kSteps / 8> dweights;
  Sums<kD / 8> sums;
  Weights<kSteps> dscores;
  sums.clear();
  if (steps > 0) {
    keys.load(p.k, p.packs.key[pack], k);
    keys.load(p.v, p.packs.value[pack], v);
    run_pipeline(
        steps, [&](int i) { stream.load(i); },
        [&](int i) {
          multiply_rows(k, warpgroup() * kGroupRows, stream.query_tile(i), scores);
          multiply_rows(v, warpgroup() * kGroupRows, stream.dout_tile(i), dweights);
        },
        [&](int i) {
          wait_for_products<1>(scores.value, dweights.value);
          stream.mask(i, keys.first + warp_row(), keys.first, keys.last, scores);
#pragma unroll
          for (int n = 0; n < kSteps / 8; ++n) {
#pragma unroll
            for (int c = 0; c < 4; ++c) {
              const int column = 8 * n + sum_column(c);
              const float weight =
                  exp2_approximate(scores.value[n][c] * scale - stream.lse(i)[column] * kLog2E);
              scores.value[n][c] = weight * (dweights.value[n][c] - stream.delta(i)[column]);
            }
          }
        },
        [&](int i) { multiply_columns(dscores, stream.query_tile(i), sums); },
        [&] { wait_for_products<0>(sums.value); }, [&] { dscores.round(scores); });
  }
  keys.template store<kD>(sums, p.scale, dk, p.packs.key[pack]);
}

}  // namespace

void backward_keys(const Context& context, const AttentionShape& shape, const Problem& p,
                   const Gradients& g, const Tensor& dk) {
  with_widths(shape, [&]<int kD, int kDv>() {
    launch(context, "attention_backward", backward_key_rows<kD, kDv>,
           {.blocks = key_grid(shape, p.packs.count),
            .threads = kThreads,
            .shared_bytes = KeyMemory<kD, kDv>::kBytes},
           p, g, rows_of<bfloat16>(dk));
  });
}

}  // namespace gda::cuda::hopper
