// A stream of tokens joined from pieces of datasets, and the split of a source into a stream to
// train on and one to validate with.
//
// The split: a source's N tokens are cut into up to kStrata equal strata, so that validation sees
// every region of the corpus (corpora are often sorted by origin or time). In each stratum the last
// `fraction` of the tokens is for validation, both ends moved up to the next start of a document. A
// document is therefore whole on one side. Finding the borders takes one binary search each, which
// is what makes it independent of the corpus's size; hashing each document would need a table of
// all documents to know where the n-th training token is. The split depends on nothing but the data
// and `fraction`: not on the seed, so that a run continued with another seed does not train on what
// another one held out. A source of a few long documents gives its last ones; where these were more
// than half of it, as with a single document, its last tokens, which continue a document that is
// trained on.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gda/data/token_dataset.h"

namespace gda {

class TokenStream {
 public:
  // Tokens [begin, end) of a dataset, which must outlive the stream. Begins a document.
  void append(const TokenDataset& dataset, std::int64_t begin, std::int64_t end);

  std::int64_t size() const { return size_; }
  // Copies tokens [begin, begin + out.size()).
  void read(std::int64_t begin, std::span<std::int32_t> out) const;
  // Replaces `starts` by the positions p, begin <= p < end, where a document starts, ascending.
  void document_starts(std::int64_t begin, std::int64_t end,
                       std::vector<std::int64_t>& starts) const;

 private:
  struct Piece {
    const TokenDataset* dataset = nullptr;
    std::int64_t begin = 0;     // in the dataset
    std::int64_t position = 0;  // in the stream
    std::int64_t size = 0;
  };
  // Calls f(piece, begin, end) in stream positions for each part of [begin, end).
  template <class F>
  void for_each_piece(std::int64_t begin, std::int64_t end, F&& f) const;

  std::vector<Piece> pieces_;
  std::int64_t size_ = 0;
};

struct TokenSplit {
  TokenStream train;
  TokenStream validation;
};

inline constexpr std::int64_t kStrata = 16;

// Splits the datasets of one source. fraction 0 leaves validation empty. Throws ConfigError for
// fewer than four tokens, which cannot be split.
TokenSplit split_tokens(const std::vector<std::unique_ptr<TokenDataset>>& datasets,
                        double fraction);

}  // namespace gda
