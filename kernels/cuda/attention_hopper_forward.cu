#include "attention_hopper_launch.cuh"
#include "attention_hopper_rows.cuh"

namespace gda::cuda::hopper {
namespace {

template <int kD, int kDv>
struct ForwardMemory {
  using Stream = KeyStream<kForwardSteps<kD, kDv>, kD, kDv, 2, 3>;
  static constexpr int kQ = 0;
  static constexpr int kStream = kQ + Tile<kRows, kD>::kBytes;
  static constexpr int kScratch = kStream + Stream::kBytes;
  static constexpr int kBytes = kScratch + kWarps * static_cast<int>(sizeof(int));
};

// Running maxima of a thread's two rows, of scores before they are scaled, and sums of weights.
struct Softmax {
  float largest[2] = {-INFINITY, -INFINITY};
  float total[2] = {0, 0};
  float correction[2] = {1, 1};  // of sums so far, for the maximum that is new

  // Scores become weights, 2^(scale (score - maximum)). A NaN is lost to no maximum: it stays one.
  template <int kColumns>
  __device__ void turn(float scale, Sums<kColumns>& scores) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float most = largest[half];
#pragma unroll
      for (const auto& column : scores.value) {
        most = fmaxf(most, fmaxf(column[2 * half], column[2 * half + 1]));
      }
      most = fmaxf(most, __shfl_xor_sync(kWholeWarp, most, 1));
      most = fmaxf(most, __shfl_xor_sync(kWholeWarp, most, 2));
      // A row that has seen no key yet keeps zeros.
      const float base = most == -INFINITY ? 0.0F : most * scale;
      correction[half] = exp2_approximate(largest[half] * scale - base);
      float sum = 0;
#pragma unroll
      for (auto& column : scores.value) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          column[i] = exp2_approximate(column[i] * scale - base);
          sum += column[i];
        }
      }
      total[half] = total[half] * correction[half] + sum;
      largest[half] = most;
    }
  }
  template <int kColumns>
  __device__ void correct(Sums<kColumns>& sums) const {
    // Mostly the maximum stays what it was.
    if (!__any_sync(kWholeWarp, correction[0] != 1 || correction[1] != 1)) return;
#pragma unroll
    for (auto& column : sums.value) {
#pragma unroll
      for (int i = 0; i < 4; ++i) column[i] *= correction[i / 2];
    }
  }
};

// Writes the largest scores of a thread's two rows, apart from what every pass writes.
__device__ inline void store_largest(const PackRows& rows, int first, const Softmax& softmax,
                                     float* row_max) {
  for (int half = 0; half < 2; ++half) {
    const int m = first + warp_row() + sum_row(2 * half);
    if (m >= rows.count() || threadIdx.x % 4 != 0) continue;
    row_max[rows.statistic(m)] = rows.p.scale * softmax.largest[half];
  }
}

template <int kD, int kDv>
__global__ void __launch_bounds__(kThreads, kForwardBlocks<kD, kDv>)
    forward_rows(const Problem p, Rows<bfloat16> out, float* lse, float* row_max) {
  using Memory = ForwardMemory<kD, kDv>;
  constexpr int kSteps = kForwardSteps<kD, kDv>;
  const PackRows rows = rows_of_block(p);
  const int first = first_row_of_block();
  if (first >= rows.count()) return;  // the whole block
  const auto keys = seen_keys<kSteps>(rows, first, shared_memory<int>(Memory::kScratch, kWarps));
  const SeenByRows seen(rows, first);
  const Tile<kRows, kD> q(Memory::kQ);
  const typename Memory::Stream stream(rows, Memory::kStream, keys.first_step());
  const float scale = p.scale * kLog2E;
  Softmax softmax;
  Sums<kSteps / 8> scores;
  Sums<kDv / 8> sums;
  Weights<kSteps> weights;
  sums.clear();
  load_rows(rows, p.q, first, q);
  run_pipeline(
      keys.steps(), [&](int i) { stream.load(i); },
      [&](int i) { multiply_rows(q, warpgroup() * kGroupRows, stream.key_tile(i), scores); },
      [&](int i) {
        wait_for_products<1>(scores.value);
        const int key = stream.first + i * kSteps;
        if (keys.needs_mask(key)) seen.mask(key, scores);
        softmax.turn(scale, scores);
      },
      [&](int i) { multiply_columns(weights, stream.value_tile(i), sums); },
      [&] { wait_for_products<0>(sums.value); },
      [&] {
        softmax.correct(sums);
        weights.round(scores);
      });
  float factor[2];
  for (int half = 0; half < 2; ++half) {
    float total = softmax.total[half];
    total += __shfl_xor_sync(kWholeWarp, total, 1);
    total += __shfl_xor_sync(kWholeWarp, total, 2);
    factor[half] = 1 / total;
    const int m = first + warp_row() + sum_row(2 * half);
    if (m < rows.count() && threadIdx.x % 4 == 0) {
      // Fused by hand, so that it has the same bits beside the product of store_largest.
      lse[rows.statistic(m)] = std::fma(p.scale, softmax.largest[half], std::log(total));
    }
  }
  if (row_max != nullptr) store_largest(rows, first, softmax, row_max);
  store_rows<kDv>(rows, first, sums, factor, out);
}

}  // namespace

void attention_forward(const Context& context, const ops::AttentionForward& a) {
  const Problem p = tiled::problem_of(a.shape, a.q, a.k, a.v, a.first_key);
  with_widths(a.shape, [&]<int kD, int kDv>() {
    launch(context, "attention_forward", forward_rows<kD, kDv>,
           {.blocks = row_grid(p, a.shape.batch),
            .threads = kThreads,
            .shared_bytes = ForwardMemory<kD, kDv>::kBytes},
           p, rows_of<bfloat16>(a.out), a.lse.data<float>(),
           a.row_max ? a.row_max.data<float>() : nullptr);
  });
}

}  // namespace gda::cuda::hopper
