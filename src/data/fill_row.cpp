#include "data/fill_row.h"

#include <algorithm>

#include "gda/ops/linear_cross_entropy.h"

namespace gda {

void fill_row(const TokenStream& stream, std::int64_t begin, bool document_mask, std::int64_t row,
              Batch& batch) {
  const std::int64_t length = batch.sequence_length;
  const std::int64_t end = std::clamp(stream.size(), begin, begin + length + 1);
  batch.window.assign(static_cast<std::size_t>(length) + 1, 0);
  batch.starts.clear();
  if (end > begin) {
    stream.read(begin, std::span(batch.window).first(static_cast<std::size_t>(end - begin)));
    if (document_mask) stream.document_starts(begin, end, batch.starts);
  }
  auto* const tokens = batch.tokens.tensor.data<std::int32_t>() + row * length;
  auto* const targets = batch.targets.tensor.data<std::int32_t>() + row * length;
  auto* const position = batch.position.tensor.data<std::int32_t>() + row * length;
  auto* const first_key = batch.first_key.tensor.data<std::int32_t>() + row * length;
  auto start = batch.starts.begin();
  std::int64_t document = 0;
  for (std::int64_t t = 0; t < length; ++t) {
    if (start != batch.starts.end() && *start == begin + t) {
      document = t;
      ++start;
    }
    const bool next_is_other = start != batch.starts.end() && *start == begin + t + 1;
    const bool has_target = begin + t + 1 < end && !next_is_other;
    tokens[t] = batch.window[static_cast<std::size_t>(t)];
    targets[t] = has_target ? batch.window[static_cast<std::size_t>(t) + 1] : kIgnoreTarget;
    position[t] = static_cast<std::int32_t>(t - document);
    first_key[t] = static_cast<std::int32_t>(document);
  }
}

}  // namespace gda
