// Summary of a dataset's tokens for its identity, computed as they come.
//
// A dataset is cut into blocks of kBlockTokens tokens. A block's hash is that of its ids, as i32,
// and that of the positions in the dataset at which a document begins in it, as i64, both
// little-endian; the content's hash is that of the blocks' hashes, one after another. So blocks can
// be read in any order, by several processes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gda/core/checksum.h"
#include "gda/data/dataset_identity.h"

namespace gda {

inline constexpr std::int64_t kBlockTokens = std::int64_t{1} << 22;

struct BlockSummary {
  std::string hash;  // of the ids, then of the starts of documents: 32 digits
  std::int64_t documents = 0;
  std::int64_t smallest_id = std::numeric_limits<std::int64_t>::max();
  std::int64_t largest_id = std::numeric_limits<std::int64_t>::min();
};

class BlockSummarizer {
 public:
  // The block's ids that follow, of any width.
  template <class T>
  void add(std::span<const T> ids) {
    narrow_.resize(ids.size());
    T smallest = std::numeric_limits<T>::max();
    T largest = std::numeric_limits<T>::min();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      smallest = std::min(smallest, ids[i]);
      largest = std::max(largest, ids[i]);
      narrow_[i] = static_cast<std::int32_t>(ids[i]);
    }
    if (ids.empty()) return;
    summary_.smallest_id = std::min<std::int64_t>(summary_.smallest_id, smallest);
    summary_.largest_id = std::max<std::int64_t>(summary_.largest_id, largest);
    ids_->update(std::as_bytes(std::span(narrow_)));
  }

  // Positions in the dataset at which documents begin, ascending.
  void start_documents(std::span<const std::int64_t> positions) {
    summary_.documents += static_cast<std::int64_t>(positions.size());
    starts_->update(std::as_bytes(positions));
  }

  // The block; the next one begins.
  BlockSummary finish() {
    summary_.hash = ids_->hex() + starts_->hex();
    ids_ = std::make_unique<ContentHash>();
    starts_ = std::make_unique<ContentHash>();
    return std::exchange(summary_, {});
  }

 private:
  BlockSummary summary_;
  std::unique_ptr<ContentHash> ids_ = std::make_unique<ContentHash>();
  std::unique_ptr<ContentHash> starts_ = std::make_unique<ContentHash>();
  std::vector<std::int32_t> narrow_;
};

// Blocks in their order to a dataset; its tokenizer is not known here.
inline DatasetIdentity identity_of(std::int64_t tokens, std::span<const BlockSummary> blocks) {
  DatasetIdentity identity;
  identity.tokens = tokens;
  ContentHash hash;
  BlockSummary all;
  for (const BlockSummary& block : blocks) {
    hash.update(std::as_bytes(std::span(block.hash)));
    identity.documents += block.documents;
    all.smallest_id = std::min(all.smallest_id, block.smallest_id);
    all.largest_id = std::max(all.largest_id, block.largest_id);
  }
  identity.content = hash.hex();
  if (tokens == 0) return identity;
  identity.smallest_id = all.smallest_id;
  identity.largest_id = all.largest_id;
  return identity;
}

// A dataset that comes from its beginning to its end.
class ContentSummary {
 public:
  void start_document() { block_.start_documents(std::span(&tokens_, 1)); }

  void add(std::span<const std::int32_t> ids) {
    while (!ids.empty()) {
      const auto room = static_cast<std::size_t>(kBlockTokens - tokens_ % kBlockTokens);
      const auto part = ids.first(std::min(room, ids.size()));
      block_.add(part);
      tokens_ += static_cast<std::int64_t>(part.size());
      if (tokens_ % kBlockTokens == 0) blocks_.push_back(block_.finish());
      ids = ids.subspan(part.size());
    }
  }

  DatasetIdentity finish() {
    if (tokens_ % kBlockTokens != 0) blocks_.push_back(block_.finish());
    return identity_of(tokens_, blocks_);
  }

 private:
  std::int64_t tokens_ = 0;
  BlockSummarizer block_;
  std::vector<BlockSummary> blocks_;
};

}  // namespace gda
