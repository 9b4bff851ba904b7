#include "gda/data/batch.h"

#include <algorithm>
#include <span>

#include "gda/ops/linear_cross_entropy.h"

namespace gda {

Batch::Batch(std::int64_t rows, std::int64_t length)
    : batch_size(rows),
      sequence_length(length),
      tokens(DType::i32, {rows * length}),
      targets(DType::i32, {rows * length}),
      position(DType::i32, {rows * length}),
      first_key(DType::i32, {rows * length}),
      source(static_cast<std::size_t>(rows), 0) {}

std::int64_t Batch::target_count() const {
  const std::span all(targets.tensor.data<std::int32_t>(),
                      static_cast<std::size_t>(targets.tensor.elements()));
  return static_cast<std::int64_t>(all.size()) - std::count(all.begin(), all.end(), kIgnoreTarget);
}

}  // namespace gda
