// Which keys the rows of a tile see.
//
// Most tiles of keys are seen by all rows of a warp, or by none: a warp asks first, and compares
// positions only in the others.
#pragma once

#include "attention_products.cuh"

namespace gda::cuda::tiled {

// Row i of the tile sees keys [lowest[i], highest[i]]; one that does not exist sees none.
template <int kRows>
struct RowKeys {
  static constexpr int kBytes = 2 * kRows * static_cast<int>(sizeof(int));

  Shared<int> lowest;
  Shared<int> highest;

  __device__ explicit RowKeys(int byte_offset)
      : lowest(shared_memory<int>(byte_offset, kRows)),
        highest(shared_memory<int>(byte_offset + kBytes / 2, kRows)) {}

  __device__ void set(int i, int lowest_key, int highest_key) const {
    lowest[i] = lowest_key;
    highest[i] = highest_key;
  }
  // Rows [first, first + kRows) of a pack; kRows threads or more.
  __device__ void set_rows(const PackRows& rows, int first) const {
    const int i = static_cast<int>(threadIdx.x);
    if (i >= kRows) return;
    const bool exists = first + i < rows.count();
    set(i, exists ? rows.first_key_of(first + i) : INT32_MAX,
        exists ? rows.last_key_of(first + i) : -1);
  }
};

enum class Sight { none, some, all };

// What a warp's rows [row, row + 16) see of keys [key, key + kKeys); the same in all its threads.
template <int kKeys, int kRows>
__device__ Sight sight_of(const RowKeys<kRows>& rows, int row, int key) {
  const int i = row + static_cast<int>(threadIdx.x) % 16;
  const int lowest = rows.lowest[i];
  const int highest = rows.highest[i];
  const int last = key + kKeys - 1;
  if (!__any_sync(kWholeWarp, lowest > key || highest < last)) return Sight::all;
  return __any_sync(kWholeWarp, lowest <= last && highest >= key) ? Sight::some : Sight::none;
}

// scores of rows [row, row + 16) and 8 kColumns keys from `key`: -inf where a row does not see one.
template <int kColumns, int kRows>
__device__ void mask_scores(const RowKeys<kRows>& rows, int row, int key, Sums<kColumns>& scores) {
  for (int half = 0; half < 2; ++half) {
    const int lowest = rows.lowest[row + sum_row(2 * half)];
    const int highest = rows.highest[row + sum_row(2 * half)];
    for (int n = 0; n < kColumns; ++n) {
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        const int j = key + 8 * n + sum_column(i);
        if (j < lowest || j > highest) scores.value[n][i] = -INFINITY;
      }
    }
  }
}

}  // namespace gda::cuda::tiled
