#include "attention_tiled_launch.cuh"

namespace gda::cuda::tiled {
namespace {

// Four warps of 16 rows each.
constexpr int kWarps = kTile / 16;
constexpr unsigned kThreads = kWarps * kWarp;

template <int kD, int kDv>
struct ForwardMemory {
  static constexpr int kQ = 0;
  static constexpr int kK = kQ + Tile<kD>::kBytes;
  static constexpr int kV = kK + Tile<kD>::kBytes;
  static constexpr int kScratch = kV + Tile<kDv>::kBytes;
  static constexpr int kBytes = kScratch + kWarps * static_cast<int>(sizeof(int));
};

// Running maxima and sums of a thread's two rows, lane / 4 and that plus 8, in powers of two.
struct Softmax {
  float largest[2];
  float total[2];
};

// Scores become weights; sums so far are scaled to the new maximum.
template <int kColumns>
__device__ void to_weights(Sums<kTile / 8>& scores, Softmax& state, Sums<kColumns>& sums) {
  for (int half = 0; half < 2; ++half) {
    float largest = state.largest[half];
    for (const auto& column : scores.value) {
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        // (a NaN must not be lost)
        largest = column[i] <= largest ? largest : column[i];
      }
    }
    for (int offset = 1; offset <= 2; offset *= 2) {
      const float other = __shfl_xor_sync(kWholeWarp, largest, offset);
      largest = other <= largest ? largest : other;
    }
    // A row that has seen no key yet keeps zeros.
    const float base = largest == -INFINITY ? 0.0F : largest;
    const float correction = exp2_approximate(state.largest[half] - base);
    float total = 0;
    for (auto& column : scores.value) {
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        column[i] = exp2_approximate(column[i] - base);
        total += column[i];
      }
    }
    state.total[half] = state.total[half] * correction + total;
    state.largest[half] = largest;
    for (auto& column : sums.value) {
      for (int i = 2 * half; i < 2 * half + 2; ++i) column[i] *= correction;
    }
  }
}

template <int kD, int kDv>
__global__ void __launch_bounds__(kThreads)
    forward_tiles(Problem p, Rows<bfloat16> out, float* lse) {
  using Memory = ForwardMemory<kD, kDv>;
  const PackRows rows(p, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z));
  // Tiles with the most keys first.
  const int first = (static_cast<int>(gridDim.x) - 1 - static_cast<int>(blockIdx.x)) * kTile;
  if (first >= rows.count()) return;  // the whole block
  const Tile<kD> q(Memory::kQ);
  const Tile<kD> k(Memory::kK);
  const Tile<kDv> v(Memory::kV);
  const int key_head = p.packs.key[rows.pack];
  const int value_head = p.packs.value[rows.pack];
  const int row = static_cast<int>(threadIdx.x) / kWarp * 16;
  const KeyRange keys = keys_of_tile(rows, first, shared_memory<int>(Memory::kScratch, kWarps));
  const auto load_k = [&](int begin) {
    k.load_async([&](int j) { return key_of(p, p.k, rows.first_key, begin + j, key_head, kD); });
    copy_async_commit();
  };
  q.load_async([&](int m) { return row_of(rows, p.q, first + m, kD); });
  const int begin = keys.begin / kTile * kTile;
  load_k(begin);
  Softmax state = {{-INFINITY, -INFINITY}, {0, 0}};
  Sums<kDv / 8> sums;
  sums.clear();
  const float scale = p.scale * static_cast<float>(M_LOG2E);
  for (int j = begin; j < keys.end; j += kTile) {
    v.load_async([&](int i) { return key_of(p, p.v, rows.first_key, j + i, value_head, kDv); });
    copy_async_commit();
    copy_async_wait<1>();  // q and k are there
    __syncthreads();
    Sums<kTile / 8> scores;
    scores.clear();
    multiply_rows(q, row, k, 0, scores);
    __syncthreads();
    if (j + kTile < keys.end) load_k(j + kTile);
    mask_scores(rows, first + row, j, scale, scores);
    to_weights(scores, state, sums);
    if (j + kTile < keys.end) {
      copy_async_wait<1>();  // v is there
    } else {
      copy_async_wait<0>();
    }
    __syncthreads();
    multiply_sums(scores, v, 0, sums);
    __syncthreads();
  }
  for (int half = 0; half < 2; ++half) {
    float total = state.total[half];
    for (int offset = 1; offset <= 2; offset *= 2) {
      total += __shfl_xor_sync(kWholeWarp, total, offset);
    }
    const int m = first + row + sum_row(2 * half);
    if (m >= rows.count()) continue;
    bfloat16* to = out[rows.first_row + rows.query(m)] + rows.head(m) * kDv;
    for (int n = 0; n < kDv / 8; ++n) {
      const auto& column = sums.value[n];
      *reinterpret_cast<std::uint32_t*>(to + 8 * n + sum_column(0)) =
          pack_bf16x2(column[2 * half] / total, column[2 * half + 1] / total);
    }
    if (threadIdx.x % 4 == 0) {
      lse[rows.statistic(m)] = static_cast<float>(M_LN2) * state.largest[half] + std::log(total);
    }
  }
}

}  // namespace

void attention_forward(const Context& context, const AttentionShape& shape, const Tensor& q,
                       const Tensor& k, const Tensor& v, const Tensor& first_key, const Tensor& out,
                       const Tensor& lse) {
  const Problem p = problem_of(shape, q, k, v, first_key);
  with_widths(shape, [&]<int kD, int kDv>() {
    launch(context, "attention_forward", forward_tiles<kD, kDv>,
           {.blocks = pack_grid(p, shape.batch),
            .threads = kThreads,
            .shared_bytes = ForwardMemory<kD, kDv>::kBytes},
           p, rows_of<bfloat16>(out), lse.data<float>());
  });
}

}  // namespace gda::cuda::tiled
