#include "gda/data/evaluation_set.h"

#include <algorithm>
#include <utility>

#include "data/fill_row.h"
#include "gda/core/error.h"
#include "gda/core/text.h"

namespace gda {

EvaluationSet::EvaluationSet(std::string name, TokenStream stream, std::int64_t sequence_length,
                             bool document_mask)
    : name_(std::move(name)),
      stream_(std::move(stream)),
      sequence_length_(sequence_length),
      document_mask_(document_mask) {}

EvaluationSet EvaluationSet::open(std::string name, const std::string& path,
                                  std::int64_t vocab_size, std::int64_t sequence_length,
                                  bool document_mask) {
  auto datasets = open_token_datasets(path, vocab_size);
  TokenStream whole = split_tokens(datasets, 0).train;
  require<FormatError>(whole.size() >= 2, "{}: {}: nothing to predict", path,
                       counted(whole.size(), "token"));
  EvaluationSet set(std::move(name), std::move(whole), sequence_length, document_mask);
  set.datasets_ = std::move(datasets);
  return set;
}

bool EvaluationSet::begins_inside_document() const {
  if (stream_.size() == 0) return false;
  std::vector<std::int64_t> starts;
  stream_.document_starts(0, 1, starts);
  return starts.empty();
}

std::int64_t EvaluationSet::samples() const {
  // The first token of the stream is only ever an input.
  const std::int64_t targets = std::max<std::int64_t>(stream_.size() - 1, 0);
  return (targets + sequence_length_ - 1) / sequence_length_;
}

void EvaluationSet::fill_batch(std::int64_t first_sample, Batch& batch) const {
  require<ConfigError>(batch.sequence_length == sequence_length_,
                       "evaluation set {}: rows of {} asked for, the set is cut in {}", name_,
                       counted(batch.sequence_length, "token"), sequence_length_);
  for (std::int64_t row = 0; row < batch.batch_size; ++row) {
    const std::int64_t begin = (first_sample + row) * sequence_length_;
    fill_row(stream_, std::min(begin, stream_.size()), document_mask_, row, batch);
    batch.source[static_cast<std::size_t>(row)] = 0;
  }
}

}  // namespace gda
