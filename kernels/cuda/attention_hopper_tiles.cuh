// The parts of attention by warpgroups: tiles in shared memory as wgmma reads them, copies into
// them, products of tiles, and the one pipeline that all passes have.
#pragma once

#include "attention_products.cuh"
#include "wgmma.cuh"

namespace gda::cuda::hopper {

using tiled::PackRows;
using tiled::Problem;
using tiled::sum_column;
using tiled::sum_row;
using tiled::Sums;

constexpr int kWarpgroup = 4 * kWarp;
constexpr int kGroupRows = 64;         // of a warpgroup's products
constexpr int kRows = 2 * kGroupRows;  // that a block keeps, for its two warpgroups
constexpr int kThreads = 2 * kWarpgroup;
constexpr int kWarps = kThreads / kWarp;
constexpr int kBlockColumns = 64;  // of the layout with 128 bytes' swizzle
constexpr float kLog2E = 1.44269504088896341F;

// Of this thread: its warpgroup, the same for a whole warp in the compiler's eyes, too; and where
// its warp's 16 rows begin in a block's.
__device__ inline int warpgroup() {
  return __shfl_sync(kWholeWarp, static_cast<int>(threadIdx.x) / kWarpgroup, 0);
}
__device__ inline int warp_row() {
  return static_cast<int>(threadIdx.x) / kWarp * 16;
}

// Keys of a sequence that some query sees; what lies behind them may be anything.
__device__ inline int keys_read(const Problem& p) {
  return min(p.length.keys, p.length.queries + p.length.offset);
}

// kTileRows rows of kWidth bf16 in shared memory, from a multiple of 1024 bytes.
template <int kTileRows, int kWidth>
struct Tile {
  static constexpr int kBlockElements = kTileRows * kBlockColumns;
  static constexpr int kElements = kTileRows * kWidth;
  static constexpr int kBytes = kElements * static_cast<int>(sizeof(bfloat16));
  static constexpr int kBlockBytes = kBlockElements * static_cast<int>(sizeof(bfloat16));
  static_assert(kWidth % kBlockColumns == 0 && kTileRows % 8 == 0);

  Shared<bfloat16> memory;
  SwizzledMatrix matrix;

  __device__ explicit Tile(int byte_offset)
      : memory(shared_memory<bfloat16>(byte_offset, kElements)),
        matrix(memory.span(0, kElements), kBlockBytes) {}

  // From a row that is a multiple of 8 and a column that is one of 16.
  __device__ SwizzledMatrix from(int row, int column) const {
    return matrix.moved(column / kBlockColumns * kBlockBytes +
                        (row * kBlockColumns + column % kBlockColumns) *
                            static_cast<int>(sizeof(bfloat16)));
  }
};

// What a thread copies of a tile: a chunk of every kRowsAtOnce-th row.
template <int kTileRows, int kWidth>
struct Copier {
  static constexpr int kChunks = kWidth / tiled::kChunk;
  static constexpr int kRowsAtOnce = kThreads / kChunks;
  static_assert(kThreads % kChunks == 0 && kRowsAtOnce % 8 == 0 && kTileRows % kRowsAtOnce == 0);

  int row;     // the first of its rows
  int column;  // of its chunk
  int place;   // of its first chunk, in elements of the tile

  __device__ Copier() {
    const int chunk = static_cast<int>(threadIdx.x) % kChunks;
    row = static_cast<int>(threadIdx.x) / kChunks;
    column = chunk * tiled::kChunk;
    // (every one of its rows has the same remainder by 8)
    place = column / kBlockColumns * Tile<kTileRows, kWidth>::kBlockElements + row * kBlockColumns +
            (chunk % 8 ^ row % 8) * tiled::kChunk;
  }

  // `source(row)`: a row's place, or null for zeros.
  template <class Source>
  __device__ void copy(const Tile<kTileRows, kWidth>& to, const Source& source) const {
#pragma unroll
    for (int r = 0; r < kTileRows; r += kRowsAtOnce) {
      const bfloat16* from = source(row + r);
      copy_async_16(to.memory.span(place + r * kBlockColumns, tiled::kChunk),
                    from == nullptr ? nullptr : from + column, from != nullptr);
    }
  }
  // Rows that lie `stride` apart; zeros from the row `count` on.
  __device__ void copy(const Tile<kTileRows, kWidth>& to, const bfloat16* first,
                       std::int64_t stride, int count) const {
    const bfloat16* from = first + row * stride + column;
#pragma unroll
    for (int r = 0; r < kTileRows; r += kRowsAtOnce) {
      copy_async_16(to.memory.span(place + r * kBlockColumns, tiled::kChunk), from,
                    row + r < count);
      from += kRowsAtOnce * stride;
    }
  }
};

// Rows that go by in one step: 64, or 128 where a thread has registers for twice the scores, since
// half the steps wait half as often. Forward and dv keep scores, weights and kDv / 2 sums; dq and
// dk also the gradients of weights. The narrowest forward pass keeps so little that two blocks of
// it share a multiprocessor, which pays more.
template <int kD, int kDv>
constexpr int kForwardBlocks = kD + kDv > 128 ? 1 : 2;
template <int kD, int kDv>
constexpr int kForwardSteps = kDv == 128 ? 128 : 64;
template <int kD, int kDv>
constexpr int kValueGradientSteps = kDv > 128 ? 64 : 128;
template <int kD, int kDv>
constexpr int kGradientSteps = kD + kDv > 128 ? 64 : 128;

// c = rows [row, row + 64) of `a` times the rows of `b`, transposed.
template <int kTileRows, int kSteps, int kWidth>
__device__ void multiply_rows(const Tile<kTileRows, kWidth>& a, int row,
                              const Tile<kSteps, kWidth>& b, Sums<kSteps / 8>& c) {
#pragma unroll
  for (int depth = 0; depth < kWidth; depth += tiled::kStep) {
    multiply_rows_async(c.value, a.from(row, depth), b.from(0, depth), depth > 0);
  }
}

// 64 x kSteps numbers of a warpgroup, as products take them.
template <int kSteps>
struct Weights {
  std::uint32_t value[kSteps / tiled::kStep][4];

  __device__ void round(const Sums<kSteps / 8>& from) {
#pragma unroll
    for (int k = 0; k < kSteps / tiled::kStep; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const auto& pair = from.value[2 * k + i / 2];
        value[k][i] = pack_bf16x2(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
      }
    }
  }
};

// c += weights b.
template <int kSteps, int kWidth>
__device__ void multiply_columns(const Weights<kSteps>& weights, const Tile<kSteps, kWidth>& b,
                                 Sums<kWidth / 8>& c) {
#pragma unroll
  for (int k = 0; k < kSteps / tiled::kStep; ++k) {
    multiply_columns_async(c.value, weights.value[k], b.from(k * tiled::kStep, 0));
  }
}

// What all passes do: `steps` tiles go by; scores of each with the block's rows are turned into
// weights, and the weights times the tile are added to sums. The scores of one step are computed
// under the sums of the step before.
//
//   load(i)      begins to copy what step i reads. The scores of step i - 2 and the sums of step
//                i - 3 are there: what they were made of may be overwritten.
//   multiply(i)  begins the products for the scores of step i
//   turn(i)      waits for them, all groups of products but the last one, and turns them
//   add(i)       begins the products that add step i to the sums, with the weights kept
//   settle()     waits for the sums
//   keep()       scales the sums and keeps the turned scores as weights
template <class Load, class Multiply, class Turn, class Add, class Settle, class Keep>
__device__ void run_pipeline(int steps, const Load& load, const Multiply& multiply,
                             const Turn& turn, const Add& add, const Settle& settle,
                             const Keep& keep) {
  const auto meet = [] {
    fence_shared_for_products();
    __syncthreads();
  };
  load(0);
  copy_async_commit();
  if (steps > 1) load(1);
  copy_async_commit();
  copy_async_wait<1>();
  meet();
  begin_products();
  multiply(0);
  end_products();
  end_products();  // there are no sums yet: an empty group
  turn(0);
  keep();
  copy_async_wait<0>();
  meet();
  for (int i = 0; i + 1 < steps; ++i) {
    begin_products();
    multiply(i + 1);
    end_products();
    add(i);
    end_products();
    if (i + 2 < steps) load(i + 2);
    copy_async_commit();
    turn(i + 1);
    settle();
    keep();
    copy_async_wait<0>();
    meet();
  }
  begin_products();
  add(steps - 1);
  end_products();
  settle();
}

}  // namespace gda::cuda::hopper
