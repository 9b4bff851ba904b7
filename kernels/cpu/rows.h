// Rows of matrices, and sums over rows that do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "gda/core/tensor.h"
#include "gda/ops/column_mask.h"
#include "isa/columns.h"

namespace gda::cpu {

// The first element of row n.
template <class T>
T* row(const Tensor& tensor, std::int64_t n) {
  return tensor.data<T>() + n * tensor.row_stride();
}

// A mask's factors and their sum, for loops in T; without a mask there are 1 and `total`, the
// number of columns (of all places, where these share them).
template <class T>
struct MaskView {
  MaskView(const ColumnMask& mask, std::int64_t total)
      : factors(mask ? mask.value.data<T>() : nullptr),
        sum(mask ? static_cast<T>(mask.sum) : static_cast<T>(total)) {}
  T operator[](std::int64_t j) const { return factors == nullptr ? T{1} : factors[j]; }

  const T* factors;
  T sum;
};

// `count` columns of `total`.
inline Columns columns_of(const ColumnMask& mask, std::int64_t count, std::int64_t total) {
  const MaskView<float> view(mask, total);
  return {.count = count, .mask = view.factors, .mask_sum = view.sum};
}

inline Columns columns_of(const ColumnMask& mask, std::int64_t count) {
  return columns_of(mask, count, count);
}

// Below this many elements, waking the other threads takes longer than the work (about 5 us).
inline constexpr std::int64_t kParallelElements = 16384;

// Cuts rows into blocks by the number of rows alone. Sums that are taken within a block first and
// then over the blocks in order come out the same, bit by bit, for any number of threads.
class RowBlocks {
 public:
  explicit RowBlocks(std::int64_t rows)
      : rows_(rows), per_block_(std::max(kMinRows, (rows + kMaxBlocks - 1) / kMaxBlocks)) {}

  std::int64_t count() const { return (rows_ + per_block_ - 1) / per_block_; }
  std::int64_t begin(std::int64_t block) const { return block * per_block_; }
  std::int64_t end(std::int64_t block) const { return std::min(rows_, begin(block) + per_block_); }

 private:
  // A block's partial sum costs as much memory traffic as one row or two, so eight rows share it;
  // and 128 blocks are enough for the cores of one socket.
  static constexpr std::int64_t kMinRows = 8;
  static constexpr std::int64_t kMaxBlocks = 128;

  std::int64_t rows_;
  std::int64_t per_block_;
};

// out[j] += sum of partial[b][j] over the blocks b in order; partial [blocks, columns] is dense.
inline void add_blocks(const float* partial, std::int64_t blocks, std::int64_t columns,
                       float* out) {
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (std::int64_t j = 0; j < columns; ++j) out[j] += partial[b * columns + j];
  }
}

}  // namespace gda::cpu
