// Passes that keep rows of queries, and let keys and values go by: forward and dq.
#pragma once

#include "attention_hopper_tiles.cuh"

namespace gda::cuda::hopper {

// Keys of a block's rows: [begin, end) are seen by some, [all_begin, all_end) by every one.
template <int kSteps>
struct SeenKeys {
  int begin, end;
  int all_begin, all_end;

  __device__ int first_step() const { return begin / kSteps * kSteps; }
  __device__ int steps() const { return (end - first_step() + kSteps - 1) / kSteps; }
  // Whether a step from this key on has keys that a row does not see.
  __device__ bool needs_mask(int key) const { return key < all_begin || key + kSteps > all_end; }
};

template <int kSteps>
__device__ SeenKeys<kSteps> seen_keys(const PackRows& rows, int first, Shared<int> scratch) {
  const int last = min(first + kRows, rows.count()) - 1;
  SeenKeys<kSteps> keys{0, rows.last_key_of(last) + 1, 0, rows.last_key_of(first) + 1};
  if (rows.p.first_key == nullptr) return keys;
  const int m = min(first + static_cast<int>(threadIdx.x) % kRows, last);
  const int own = rows.first_key_of(m);
  const auto warp_largest = [](int value) {
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      value = max(value, __shfl_xor_sync(kWholeWarp, value, offset));
    }
    return value;
  };
  keys.begin = -block_reduce(-own, scratch, -own, warp_largest);
  keys.all_begin = block_reduce(own, scratch, own, warp_largest);
  return keys;
}

// Of a thread's two rows, warp_row() + lane / 4 and that plus 8: the keys that they see.
struct SeenByRows {
  int lowest[2];
  int highest[2];

  __device__ SeenByRows(const PackRows& rows, int first) {
    for (int half = 0; half < 2; ++half) {
      const int m = first + warp_row() + sum_row(2 * half);
      const bool exists = m < rows.count();
      lowest[half] = exists ? rows.first_key_of(m) : 0;
      highest[half] = exists ? rows.last_key_of(m) : -1;
    }
  }
  // Scores of unseen keys become -inf; `key` is that of the first column.
  template <int kColumns>
  __device__ void mask(int key, Sums<kColumns>& scores) const {
#pragma unroll
    for (int n = 0; n < kColumns; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = key + 8 * n + sum_column(i);
        if (at < lowest[i / 2] || at > highest[i / 2]) scores.value[n][i] = -INFINITY;
      }
    }
  }
};

// Keys and values, kSteps at a time: keys for kKeyStages steps, values for kValueStages.
template <int kSteps, int kD, int kDv, int kKeyStages, int kValueStages>
struct KeyStream {
  using KeyTile = Tile<kSteps, kD>;
  using ValueTile = Tile<kSteps, kDv>;
  static constexpr int kBytes = kKeyStages * KeyTile::kBytes + kValueStages * ValueTile::kBytes;

  const PackRows& rows;
  int memory;  // byte offset
  int first;   // key of step 0
  const bfloat16* keys;
  const bfloat16* values;
  Copier<kSteps, kD> key_copier;
  Copier<kSteps, kDv> value_copier;

  __device__ KeyStream(const PackRows& r, int byte_offset, int first_key)
      : rows(r), memory(byte_offset), first(first_key) {
    const Problem& p = rows.p;
    keys = p.k[rows.first_key + first] + static_cast<std::int64_t>(p.packs.key[rows.pack]) * kD;
    values =
        p.v[rows.first_key + first] + static_cast<std::int64_t>(p.packs.value[rows.pack]) * kDv;
  }
  __device__ KeyTile key_tile(int step) const {
    return KeyTile(memory + step % kKeyStages * KeyTile::kBytes);
  }
  __device__ ValueTile value_tile(int step) const {
    return ValueTile(memory + kKeyStages * KeyTile::kBytes +
                     step % kValueStages * ValueTile::kBytes);
  }
  __device__ void load(int step) const {
    const Problem& p = rows.p;
    const std::int64_t row = static_cast<std::int64_t>(step) * kSteps;
    const int left = keys_read(p) - first - step * kSteps;
    key_copier.copy(key_tile(step), keys + row * p.k.stride, p.k.stride, left);
    value_copier.copy(value_tile(step), values + row * p.v.stride, p.v.stride, left);
  }
};

// Tiles with the most keys first, those of all packs side by side: blocks (packs x sequences,
// tiles).
__device__ inline PackRows rows_of_block(const Problem& p) {
  const int pack = static_cast<int>(blockIdx.x) % p.packs.count;
  return {p, pack, static_cast<int>(blockIdx.x) / p.packs.count};
}
__device__ inline int first_row_of_block() {
  return (static_cast<int>(gridDim.y) - 1 - static_cast<int>(blockIdx.y)) * kRows;
}

// Rows [first, first + kRows) of a pack, of q or what is shaped as q.
template <int kWidth>
__device__ void load_rows(const PackRows& rows, const Rows<const bfloat16>& from, int first,
                          const Tile<kRows, kWidth>& to) {
  const Copier<kRows, kWidth> copier;
  copier.copy(to, [&](int i) -> const bfloat16* {
    const int m = first + i;
    if (m >= rows.count()) return nullptr;
    return from[rows.first_row + rows.query(m)] + static_cast<std::int64_t>(rows.head(m)) * kWidth;
  });
}

// Writes sums of rows [first, first + kRows), each row times its factor.
template <int kWidth>
__device__ void store_rows(const PackRows& rows, int first, const Sums<kWidth / 8>& sums,
                           const float (&factor)[2], const Rows<bfloat16>& to) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int m = first + warp_row() + sum_row(2 * half);
    if (m >= rows.count()) continue;
    bfloat16* row = to[rows.first_row + rows.query(m)] +
                    static_cast<std::int64_t>(rows.head(m)) * kWidth + sum_column(0);
#pragma unroll
    for (int n = 0; n < kWidth / 8; ++n) {
      const auto& column = sums.value[n];
      *reinterpret_cast<std::uint32_t*>(row + 8 * n) =
          pack_bf16x2(column[2 * half] * factor[half], column[2 * half + 1] * factor[half]);
    }
  }
}

}  // namespace gda::cuda::hopper
