#include "gda/data/token_stream.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "gda/core/error.h"

namespace gda {
namespace {

// The datasets of a source as one line of tokens.
class JoinedDatasets {
 public:
  explicit JoinedDatasets(const std::vector<std::unique_ptr<TokenDataset>>& datasets)
      : datasets_(datasets) {
    for (const auto& dataset : datasets) {
      begins_.push_back(size_);
      size_ += dataset->size();
    }
  }

  std::int64_t size() const { return size_; }

  // The first start of a document at or after a position; size() if there is none.
  std::int64_t document_start_from(std::int64_t position) const {
    for (std::size_t i = 0; i < datasets_.size(); ++i) {
      const std::int64_t local = std::max<std::int64_t>(position - begins_[i], 0);
      if (local >= datasets_[i]->size()) continue;
      const std::int64_t start = datasets_[i]->document_start_from(local);
      if (start < datasets_[i]->size()) return begins_[i] + start;
    }
    return size_;
  }

  void append_to(TokenStream& stream, std::int64_t begin, std::int64_t end) const {
    for (std::size_t i = 0; i < datasets_.size(); ++i) {
      const std::int64_t from = std::max(begin, begins_[i]);
      const std::int64_t to = std::min(end, begins_[i] + datasets_[i]->size());
      if (from < to) stream.append(*datasets_[i], from - begins_[i], to - begins_[i]);
    }
  }

 private:
  const std::vector<std::unique_ptr<TokenDataset>>& datasets_;
  std::vector<std::int64_t> begins_;
  std::int64_t size_ = 0;
};

struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

// The validation ranges of `strata` strata; empty if one of them would be.
std::vector<Range> validation_ranges(const JoinedDatasets& data, std::int64_t strata,
                                     double fraction) {
  std::vector<Range> ranges;
  for (std::int64_t k = 0; k < strata; ++k) {
    const double width = static_cast<double>(data.size()) / static_cast<double>(strata);
    const double end = width * static_cast<double>(k + 1);
    const Range range{data.document_start_from(std::llround(end - fraction * width)),
                      k + 1 == strata ? data.size() : data.document_start_from(std::llround(end))};
    if (range.begin >= range.end || range.begin == 0) return {};
    ranges.push_back(range);
  }
  return ranges;
}

// For sources of a few long documents: the last documents, as few as a halving search finds, if
// they are no more than half of the tokens.
std::vector<Range> last_documents(const JoinedDatasets& data) {
  for (std::int64_t position = data.size() - 1; position > 0; position /= 2) {
    const std::int64_t start = data.document_start_from(position);
    if (start < data.size() && start >= data.size() / 2) return {{start, data.size()}};
  }
  return {};
}

// For a source of one document, or of one that is most of it: the last tokens, two at least, since
// a prediction takes two.
std::vector<Range> last_tokens(const JoinedDatasets& data, double fraction) {
  if (data.size() < 4) return {};
  const auto share = std::llround(fraction * static_cast<double>(data.size()));
  return {{data.size() - std::clamp<std::int64_t>(share, 2, data.size() / 2), data.size()}};
}

}  // namespace

void TokenStream::append(const TokenDataset& dataset, std::int64_t begin, std::int64_t end) {
  assert(0 <= begin && begin < end && end <= dataset.size());
  pieces_.push_back({&dataset, begin, size_, end - begin});
  size_ += end - begin;
}

template <class F>
void TokenStream::for_each_piece(std::int64_t begin, std::int64_t end, F&& f) const {
  assert(0 <= begin && end <= size_);
  auto piece = std::upper_bound(
      pieces_.begin(), pieces_.end(), begin,
      [](std::int64_t position, const Piece& other) { return position < other.position; });
  if (piece != pieces_.begin()) --piece;
  for (; piece != pieces_.end() && piece->position < end; ++piece) {
    f(*piece, std::max(begin, piece->position), std::min(end, piece->position + piece->size));
  }
}

void TokenStream::read(std::int64_t begin, std::span<std::int32_t> out) const {
  const std::int64_t end = begin + static_cast<std::int64_t>(out.size());
  for_each_piece(begin, end, [&](const Piece& piece, std::int64_t from, std::int64_t to) {
    piece.dataset->read(
        piece.begin + from - piece.position,
        out.subspan(static_cast<std::size_t>(from - begin), static_cast<std::size_t>(to - from)));
  });
}

void TokenStream::document_starts(std::int64_t begin, std::int64_t end,
                                  std::vector<std::int64_t>& starts) const {
  starts.clear();
  for_each_piece(begin, end, [&](const Piece& piece, std::int64_t from, std::int64_t to) {
    const std::int64_t shift = piece.position - piece.begin;
    const std::size_t first = starts.size();
    piece.dataset->append_document_starts(from - shift, to - shift, starts);
    for (std::size_t i = first; i < starts.size(); ++i) starts[i] += shift;
  });
}

TokenSplit split_tokens(const std::vector<std::unique_ptr<TokenDataset>>& datasets,
                        double fraction) {
  const JoinedDatasets data(datasets);
  std::vector<Range> ranges;
  if (fraction > 0 && data.size() > 0) {
    for (std::int64_t strata = kStrata; strata >= 1 && ranges.empty(); strata /= 2) {
      ranges = validation_ranges(data, strata, fraction);
    }
    if (ranges.empty()) ranges = last_documents(data);
    if (ranges.empty()) ranges = last_tokens(data, fraction);
    require<ConfigError>(!ranges.empty(),
                         "{}: {} tokens are too few to keep some for validation: add text, or set "
                         "data.validation_fraction to 0",
                         datasets.front()->path().string(), data.size());
  }
  TokenSplit split;
  std::int64_t at = 0;
  for (const Range& range : ranges) {
    data.append_to(split.train, at, range.begin);
    data.append_to(split.validation, range.begin, range.end);
    at = range.end;
  }
  data.append_to(split.train, at, data.size());
  return split;
}

}  // namespace gda
