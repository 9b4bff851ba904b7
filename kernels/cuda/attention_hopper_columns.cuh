// Passes that keep keys, and let the queries that see them go by, head by head: dk and dv. Scores
// are transposed: rows are keys, columns queries.
#pragma once

#include "attention_hopper_gradients.cuh"

namespace gda::cuda::hopper {

// Queries of one sequence that see some of the keys [first_key, last_key]: their steps, counted
// from the sequence's first query.
template <int kSteps>
struct QuerySteps {
  int begin, end;

  __device__ QuerySteps(const Problem& p, std::int64_t first_row, int first_key, int last_key,
                        Shared<int> scratch) {
    const int first = max(first_key - p.length.offset, 0);
    int last = p.length.queries - 1;
    if (p.first_key != nullptr) {
      last = -1;
      for (int i = first + static_cast<int>(threadIdx.x); i < p.length.queries; i += kThreads) {
        if (p.first_key[first_row + i] <= last_key) last = i;
      }
      last = block_reduce(last, scratch, last, [](int value) {
        for (int offset = kWarp / 2; offset > 0; offset /= 2) {
          value = max(value, __shfl_xor_sync(kWholeWarp, value, offset));
        }
        return value;
      });
    }
    begin = first / kSteps;
    end = last < first ? begin : last / kSteps + 1;
  }
  __device__ int count() const { return end - begin; }
};

// q and dout, with what is kept of each query, step by step through the heads of a pack: q for
// kQueryStages steps, dout for kDoutStages, the rest for two.
template <int kSteps, int kD, int kDv, int kQueryStages, int kDoutStages>
struct QueryStream {
  using QueryTile = Tile<kSteps, kD>;
  using DoutTile = Tile<kSteps, kDv>;
  static constexpr int kDout = kQueryStages * QueryTile::kBytes;
  static constexpr int kStatistics = kDout + kDoutStages * DoutTile::kBytes;
  static constexpr int kKinds = 3;  // lse, delta, first key
  static constexpr int kStatisticBytes = kKinds * kSteps * 4;
  static constexpr int kBytes = kStatistics + 2 * kStatisticBytes;

  const Problem& p;
  const Gradients& g;
  QuerySteps<kSteps> queries;
  int memory;  // byte offset
  int pack = 0;
  std::int64_t first_row;  // of the sequence
  // Where steps are that are to be loaded, and to be turned, next: each is once, in order.
  struct Place {
    int head;  // in the packs' order
    int query;
  } loaded{}, turned{};
  Copier<kSteps, kD> query_copier;
  Copier<kSteps, kDv> dout_copier;

  __device__ QueryStream(const Problem& problem, const Gradients& gradients, int byte_offset,
                         const QuerySteps<kSteps>& steps_of_head, std::int64_t row)
      : p(problem), g(gradients), queries(steps_of_head), memory(byte_offset), first_row(row) {}
  // Begins a pack at its first step.
  __device__ int begin(int which_pack) {
    pack = which_pack;
    loaded = turned = {p.packs.begin[pack], queries.begin * kSteps};
    return p.packs.size(pack) * queries.count();
  }
  __device__ QueryTile query_tile(int step) const {
    return QueryTile(memory + step % kQueryStages * QueryTile::kBytes);
  }
  __device__ DoutTile dout_tile(int step) const {
    return DoutTile(memory + kDout + step % kDoutStages * DoutTile::kBytes);
  }
  __device__ Shared<float> lse(int step) const { return statistic<float>(step, 0); }
  __device__ Shared<float> delta(int step) const { return statistic<float>(step, 1); }
  __device__ Shared<std::int32_t> first_key(int step) const {
    return statistic<std::int32_t>(step, 2);
  }
  __device__ void load(int step) {
    const auto [place, query] = next(loaded);
    const int head = p.packs.head[place];
    const int left = p.length.queries - query;
    const std::int64_t row = first_row + query;
    query_copier.copy(query_tile(step), p.q[row] + static_cast<std::int64_t>(head) * kD, p.q.stride,
                      left);
    dout_copier.copy(dout_tile(step), g.dout[row] + static_cast<std::int64_t>(head) * kDv,
                     g.dout.stride, left);
#pragma unroll
    for (int part = 0; part < kKinds * kSteps; part += kThreads) {
      const int i = static_cast<int>(threadIdx.x) % kSteps;
      const int kind = (part + static_cast<int>(threadIdx.x)) / kSteps;
      const std::int64_t at = (row + i) * p.packs.heads + head;
      if (kind == 0) copy_async_4(lse(step).span(i, 1), g.lse + at, i < left);
      if (kind == 1) copy_async_4(delta(step).span(i, 1), g.delta + at, i < left);
      if (kind == 2 && p.first_key != nullptr) {
        copy_async_4(first_key(step).span(i, 1), p.first_key + row + i, i < left);
      }
    }
  }
  // Scores of keys from `key` that a step's queries do not see become -inf; `block_key` and
  // `last_key` are the first and the last of the block's keys.
  __device__ void mask(int step, int key, int block_key, int last_key, Sums<kSteps / 8>& scores) {
    const int query = next(turned).query;
    const bool documents = p.first_key != nullptr;
    // (What lies behind the last query is zeros, which add nothing.)
    bool needed = last_key > query + p.length.offset;
    if (documents) {
      const int lane = static_cast<int>(threadIdx.x) % kWarp;
      const Shared<std::int32_t> keys = first_key(step);
      int largest = max(keys[lane], keys[lane + kWarp]);
      if constexpr (kSteps > 2 * kWarp) {
        largest = max(largest, max(keys[lane + 2 * kWarp], keys[lane + 3 * kWarp]));
      }
      needed = needed || __any_sync(kWholeWarp, largest > block_key);
    }
    if (!needed) return;
#pragma unroll
    for (int n = 0; n < kSteps / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = 8 * n + sum_column(i);
        const int at = key + sum_row(i);
        const int lowest = documents ? first_key(step)[column] : 0;
        if (at > query + column + p.length.offset || at < lowest) {
          scores.value[n][i] = -INFINITY;
        }
      }
    }
  }

 private:
  __device__ Place next(Place& place) const {
    const Place here = place;
    place.query += kSteps;
    if (place.query >= queries.end * kSteps) place = {here.head + 1, queries.begin * kSteps};
    return here;
  }
  template <class T>
  __device__ Shared<T> statistic(int step, int kind) const {
    return shared_memory<T>(memory + kStatistics + step % 2 * kStatisticBytes + kind * kSteps * 4,
                            kSteps);
  }
};

// A block's keys [first, first + kRows) of a head of one sequence.
struct BlockKeys {
  const Problem& p;
  int first, last;
  std::int64_t row;  // of the sequence's first key

  __device__ BlockKeys(const Problem& problem, int sequence)
      : p(problem),
        first(static_cast<int>(blockIdx.y) * kRows),
        last(min(first + kRows, p.length.keys) - 1),
        row(static_cast<std::int64_t>(sequence) * p.length.keys) {}

  template <int kWidth>
  __device__ void load(const Rows<const bfloat16>& from, int head,
                       const Tile<kRows, kWidth>& to) const {
    const Copier<kRows, kWidth> copier;
    copier.copy(to, from[row + first] + static_cast<std::int64_t>(head) * kWidth, from.stride,
                keys_read(p) - first);
  }
  template <int kWidth>
  __device__ void store(const Sums<kWidth / 8>& sums, float factor, const Rows<bfloat16>& to,
                        int head) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int key = first + warp_row() + sum_row(2 * half);
      if (key > last) continue;
      bfloat16* at = to[row + key] + static_cast<std::int64_t>(head) * kWidth + sum_column(0);
#pragma unroll
      for (int n = 0; n < kWidth / 8; ++n) {
        const auto& column = sums.value[n];
        *reinterpret_cast<std::uint32_t*>(at + 8 * n) =
            pack_bf16x2(column[2 * half] * factor, column[2 * half + 1] * factor);
      }
    }
  }
};

}  // namespace gda::cuda::hopper
