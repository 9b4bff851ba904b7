// How large the blocks of the tiled attention kernels are, and how many of them share a
// multiprocessor.
#pragma once

#include <algorithm>

#include "attention_tiles.cuh"

namespace gda::cuda::tiled {

// A multiprocessor has 64 Ki registers, and a thread at most 255 of them. Its shared memory is 228
// KiB on compute capability 9.0 and 10.0 (164 on 8.0, 100 on 8.6 and 8.9), of which each block
// takes 1 KiB more than it asks for.
constexpr int kRegisters = 64 << 10;
constexpr int kSharedBytes = 228 << 10;

// Blocks of `threads` that fit: `kept` are the registers of a thread that hold sums and scores; 72
// more are addresses and operands on their way.
constexpr int blocks_that_fit(int threads, int kept, int shared_bytes) {
  return std::max(
      1, std::min(kRegisters / (threads * (kept + 72)), kSharedBytes / (shared_bytes + 1024)));
}

// Tiles of keys in shared memory: while products read one, the next is on its way, where there is
// room for two.
constexpr int kMostStages = 2;

// Warps of the kernels that go by rows of queries, 16 rows each. A wide head leaves registers for
// eight warps: one block of eight instead of two of four loads keys and values half as often.
// Narrow ones leave some for more blocks, which hide each other's waits.
template <int kDv>
constexpr int kQueryWarps = kDv > 128 ? 8 : 4;

// The kernel that goes by keys: in scores 4 x 16 rows of queries by 2 halves of the keys.
constexpr int kKeyWarps = 8;

}  // namespace gda::cuda::tiled
