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
      source(static_cast<std::size_t>(rows), 0),
      stretch(length) {}

void Batch::take_part(const Batch& whole, const ContextCut& cut) {
  const std::vector<IndexRange> ranges = cut.token_ranges(whole.sequence_length);
  const std::int64_t length = ranges.front().size();
  const std::int64_t rows = whole.batch_size * length * static_cast<std::int64_t>(ranges.size());
  const auto take = [&](const OwnedTensor& from, OwnedTensor& to) {
    if (to.tensor.elements() != rows) to = OwnedTensor(DType::i32, {rows});
    auto* next = to.tensor.data<std::int32_t>();
    for (const IndexRange& range : ranges) {
      for (std::int64_t row = 0; row < whole.batch_size; ++row) {
        const auto* begin =
            from.tensor.data<std::int32_t>() + row * whole.sequence_length + range.begin;
        next = std::copy_n(begin, length, next);
      }
    }
  };
  batch_size = whole.batch_size;
  sequence_length = whole.sequence_length;
  source = whole.source;
  stretch = length;
  take(whole.tokens, tokens);
  take(whole.targets, targets);
  take(whole.position, position);
  if (cut.method == ContextMethod::ulysses) {
    if (first_key.tensor.shape() != whole.first_key.tensor.shape()) {
      first_key = OwnedTensor(DType::i32, whole.first_key.tensor.shape());
    }
    std::copy_n(whole.first_key.tensor.data<std::int32_t>(), whole.first_key.tensor.elements(),
                first_key.tensor.data<std::int32_t>());
  } else {
    take(whole.first_key, first_key);
  }
}

std::int64_t Batch::target_count() const {
  const std::span all(targets.tensor.data<std::int32_t>(),
                      static_cast<std::size_t>(targets.tensor.elements()));
  return static_cast<std::int64_t>(all.size()) - std::count(all.begin(), all.end(), kIgnoreTarget);
}

}  // namespace gda
