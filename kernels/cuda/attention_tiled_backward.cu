#include "attention_tiled_launch.cuh"

namespace gda::cuda::tiled {
namespace {

struct Gradients {
  Rows<const bfloat16> dout;
  const float* lse;
  const float* delta;
};

// A thread's two rows: what scores become weights and gradients with.
struct RowStatistics {
  float lse[2];  // in powers of two
  float delta[2];

  __device__ RowStatistics(const PackRows& rows, const Gradients& g, int first_row) {
    for (int half = 0; half < 2; ++half) {
      const int m = first_row + sum_row(2 * half);
      const bool exists = m < rows.count();
      lse[half] = exists ? g.lse[rows.statistic(m)] * static_cast<float>(M_LOG2E) : 0.0F;
      delta[half] = exists ? g.delta[rows.statistic(m)] : 0.0F;
    }
  }
};

// Masked scores become weights, and dweights what scores receive.
template <int kColumns>
__device__ void to_gradients(const RowStatistics& statistics, float scale, Sums<kColumns>& scores,
                             Sums<kColumns>& dweights) {
  for (int n = 0; n < kColumns; ++n) {
    for (int i = 0; i < 4; ++i) {
      const float weight = exp2_approximate(scores.value[n][i] - statistics.lse[i / 2]);
      scores.value[n][i] = weight;
      dweights.value[n][i] = scale * weight * (dweights.value[n][i] - statistics.delta[i / 2]);
    }
  }
}

// Puts a warp's sums into a tile, rounded, from (row, column).
template <int kColumns>
__device__ void store_sums(const Sums<kColumns>& sums, int row, int column,
                           const Tile<kTile>& tile) {
  for (int n = 0; n < kColumns; ++n) {
    for (int i = 0; i < 4; i += 2) {
      tile.store_pair(row + sum_row(i), column + 8 * n + sum_column(0),
                      pack_bf16x2(sums.value[n][i], sums.value[n][i + 1]));
    }
  }
}

// --- dq: as the forward pass goes, by rows of queries ---

constexpr int kQueryWarps = kTile / 16;
constexpr unsigned kQueryThreads = kQueryWarps * kWarp;

template <int kD, int kDv>
struct QueryMemory {
  static constexpr int kQ = 0;
  static constexpr int kDout = kQ + Tile<kD>::kBytes;
  static constexpr int kK = kDout + Tile<kDv>::kBytes;
  static constexpr int kV = kK + Tile<kD>::kBytes;
  static constexpr int kScratch = kV + Tile<kDv>::kBytes;
  static constexpr int kBytes = kScratch + kQueryWarps * static_cast<int>(sizeof(int));
};

template <int kD, int kDv>
__global__ void __launch_bounds__(kQueryThreads)
    backward_queries(Problem p, Gradients g, Rows<bfloat16> dq) {
  using Memory = QueryMemory<kD, kDv>;
  const PackRows rows(p, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z));
  // Tiles with the most keys first.
  const int first = (static_cast<int>(gridDim.x) - 1 - static_cast<int>(blockIdx.x)) * kTile;
  if (first >= rows.count()) return;  // the whole block
  const Tile<kD> q(Memory::kQ);
  const Tile<kDv> dout(Memory::kDout);
  const Tile<kD> k(Memory::kK);
  const Tile<kDv> v(Memory::kV);
  const int row = static_cast<int>(threadIdx.x) / kWarp * 16;
  const KeyRange keys =
      keys_of_tile(rows, first, shared_memory<int>(Memory::kScratch, kQueryWarps));
  q.load_async([&](int m) { return row_of(rows, p.q, first + m, kD); });
  dout.load_async([&](int m) { return row_of(rows, g.dout, first + m, kDv); });
  const RowStatistics statistics(rows, g, first + row);
  Sums<kD / 8> sums;
  sums.clear();
  for (int j = keys.begin / kTile * kTile; j < keys.end; j += kTile) {
    __syncthreads();
    k.load_async(
        [&](int i) { return key_of(p, p.k, rows.first_key, j + i, p.packs.key[rows.pack], kD); });
    v.load_async([&](int i) {
      return key_of(p, p.v, rows.first_key, j + i, p.packs.value[rows.pack], kDv);
    });
    copy_async_commit();
    copy_async_wait<0>();
    __syncthreads();
    Sums<kTile / 8> scores;
    Sums<kTile / 8> dweights;
    scores.clear();
    dweights.clear();
    multiply_rows(q, row, k, 0, scores);
    multiply_rows(dout, row, v, 0, dweights);
    mask_scores(rows, first + row, j, p.scale * static_cast<float>(M_LOG2E), scores);
    to_gradients(statistics, p.scale, scores, dweights);
    multiply_sums(dweights, k, 0, sums);
  }
  for (int half = 0; half < 2; ++half) {
    const int m = first + row + sum_row(2 * half);
    if (m >= rows.count()) continue;
    bfloat16* to = dq[rows.first_row + rows.query(m)] + rows.head(m) * kD;
    for (int n = 0; n < kD / 8; ++n) {
      *reinterpret_cast<std::uint32_t*>(to + 8 * n + sum_column(0)) =
          pack_bf16x2(sums.value[n][2 * half], sums.value[n][2 * half + 1]);
    }
  }
}

// --- dk and dv: by keys ---

// Eight warps: 4 x 16 keys (or rows of queries) by 2 halves of the columns.
constexpr int kKeyWarps = 8;
constexpr unsigned kKeyThreads = kKeyWarps * kWarp;

template <int kD, int kDv>
struct KeyMemory {
  static constexpr int kK = 0;
  static constexpr int kV = kK + Tile<kD>::kBytes;
  static constexpr int kQ = kV + Tile<kDv>::kBytes;
  static constexpr int kDout = kQ + Tile<kD>::kBytes;
  static constexpr int kWeights = kDout + Tile<kDv>::kBytes;
  static constexpr int kDscores = kWeights + Tile<kTile>::kBytes;
  static constexpr int kBytes = kDscores + Tile<kTile>::kBytes;
};

// Writes a warp's sums, 16 keys from `key` by 8 kColumns columns, to rows of `to`.
template <int kColumns>
__device__ void store_keys(const Problem& p, const Sums<kColumns>& sums, std::int64_t first_key,
                           int key, const Rows<bfloat16>& to, int column) {
  for (int half = 0; half < 2; ++half) {
    const int j = key + sum_row(2 * half);
    if (j >= p.length.keys) continue;
    bfloat16* row = to[first_key + j] + column;
    for (int n = 0; n < kColumns; ++n) {
      *reinterpret_cast<std::uint32_t*>(row + 8 * n + sum_column(0)) =
          pack_bf16x2(sums.value[n][2 * half], sums.value[n][2 * half + 1]);
    }
  }
}

// A block takes a tile of keys of a value head, and goes through the packs that read it.
template <int kD, int kDv>
__global__ void __launch_bounds__(kKeyThreads)
    backward_keys(Problem p, Gradients g, Rows<bfloat16> dk, Rows<bfloat16> dv) {
  using Memory = KeyMemory<kD, kDv>;
  const int first_key = static_cast<int>(blockIdx.x) * kTile;
  const int value_head = static_cast<int>(blockIdx.y);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int row = warp % 4 * 16;  // of queries in scores, of keys in sums
  const int half = warp / 4;
  const Tile<kD> k(Memory::kK);
  const Tile<kDv> v(Memory::kV);
  const Tile<kD> q(Memory::kQ);
  const Tile<kDv> dout(Memory::kDout);
  const Tile<kTile> weights(Memory::kWeights);
  const Tile<kTile> dscores(Memory::kDscores);
  const std::int64_t keys = static_cast<std::int64_t>(blockIdx.z) * p.length.keys;
  v.load_async([&](int i) { return key_of(p, p.v, keys, first_key + i, value_head, kDv); });
  Sums<kDv / 16> dv_sums;
  dv_sums.clear();
  for (int pack = 0; pack < p.packs.count; ++pack) {
    if (p.packs.value[pack] != value_head) continue;
    const PackRows rows(p, pack, static_cast<int>(blockIdx.z));
    __syncthreads();
    k.load_async([&](int i) { return key_of(p, p.k, keys, first_key + i, p.packs.key[pack], kD); });
    Sums<kD / 16> dk_sums;
    dk_sums.clear();
    // The first query that sees the tile's first key.
    const int first_query = max(first_key - p.length.offset, 0);
    for (int m = first_query * rows.size / kTile * kTile; m < rows.count(); m += kTile) {
      __syncthreads();
      q.load_async([&](int i) { return row_of(rows, p.q, m + i, kD); });
      dout.load_async([&](int i) { return row_of(rows, g.dout, m + i, kDv); });
      copy_async_commit();
      copy_async_wait<0>();
      __syncthreads();
      Sums<kTile / 16> scores;
      Sums<kTile / 16> dweights;
      scores.clear();
      dweights.clear();
      const int column = half * kTile / 2;
      multiply_rows(q, row, k, column, scores);
      multiply_rows(dout, row, v, column, dweights);
      mask_scores(rows, m + row, first_key + column, p.scale * static_cast<float>(M_LOG2E), scores);
      to_gradients(RowStatistics(rows, g, m + row), p.scale, scores, dweights);
      store_sums(scores, row, column, weights);
      store_sums(dweights, row, column, dscores);
      __syncthreads();
      multiply_transposed(weights, row, dout, half * kDv / 2, dv_sums);
      multiply_transposed(dscores, row, q, half * kD / 2, dk_sums);
    }
    store_keys(p, dk_sums, keys, first_key + row, dk, p.packs.key[pack] * kD + half * kD / 2);
  }
  copy_async_commit();
  copy_async_wait<0>();  // of a tile that no query sees
  store_keys(p, dv_sums, keys, first_key + row, dv, value_head * kDv + half * kDv / 2);
}

}  // namespace

void attention_backward(const Context& context, const AttentionShape& shape, const Tensor& q,
                        const Tensor& k, const Tensor& v, const Tensor& first_key,
                        const Tensor& lse, const Tensor& dout, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  constexpr const char* kName = "attention_backward";
  const Problem p = problem_of(shape, q, k, v, first_key);
  const Gradients g{
      {dout.data<bfloat16>(), dout.row_stride()}, lse.data<float>(), delta.data<float>()};
  with_widths(shape, [&]<int kD, int kDv>() {
    launch(context, kName, backward_queries<kD, kDv>,
           {.blocks = pack_grid(p, shape.batch),
            .threads = kQueryThreads,
            .shared_bytes = QueryMemory<kD, kDv>::kBytes},
           p, g, rows_of<bfloat16>(dq));
    launch(
        context, kName, backward_keys<kD, kDv>,
        {.blocks = {blocks_for(shape.key_length, kTile), static_cast<unsigned>(shape.value_heads),
                    static_cast<unsigned>(shape.batch)},
         .threads = kKeyThreads,
         .shared_bytes = KeyMemory<kD, kDv>::kBytes},
        p, g, rows_of<bfloat16>(dk), rows_of<bfloat16>(dv));
  });
}

}  // namespace gda::cuda::tiled
