// Tokens to evaluate on, in a fixed order, each predicted once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gda/data/batch.h"
#include "gda/data/token_stream.h"

namespace gda {

class EvaluationSet {
 public:
  // The stream's datasets must outlive the set.
  EvaluationSet(std::string name, TokenStream stream, std::int64_t sequence_length,
                bool document_mask);
  // All tokens of a dataset (see open_token_datasets), which the set keeps open.
  static EvaluationSet open(std::string name, const std::string& path, std::int64_t vocab_size,
                            std::int64_t sequence_length, bool document_mask);

  const std::string& name() const { return name_; }
  std::int64_t tokens() const { return stream_.size(); }
  std::int64_t sequence_length() const { return sequence_length_; }
  // Its first token belongs to a document whose beginning is elsewhere (split_tokens).
  bool begins_inside_document() const;
  // Rows of sequence_length; the last one may be padded.
  std::int64_t samples() const;
  // Rows first_sample, first_sample + 1, ...; rows past the last sample have no targets. `source`
  // of the rows is 0.
  void fill_batch(std::int64_t first_sample, Batch& batch) const;

 private:
  std::string name_;
  std::vector<std::unique_ptr<TokenDataset>> datasets_;
  TokenStream stream_;
  std::int64_t sequence_length_;
  bool document_mask_;
};

}  // namespace gda
