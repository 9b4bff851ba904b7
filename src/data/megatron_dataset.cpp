#include "data/megatron_dataset.h"

#include <algorithm>
#include <cassert>

#include "gda/core/text.h"

namespace gda {
namespace {

std::string printable(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += byte >= 0x20 && byte < 0x7f ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
  }
  return text;
}

// The first i in [0, count) for which `reached(i)`, which must be monotone; count if none.
template <class Predicate>
std::int64_t first_where(std::int64_t count, Predicate reached) {
  std::int64_t low = 0;
  std::int64_t high = count;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (reached(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

}  // namespace

MegatronDataset::MegatronDataset(const std::string& prefix, std::int64_t vocab_size)
    : idx_(prefix + ".idx"), bin_(prefix + ".bin"), vocab_size_(vocab_size) {
  read_header();
  check_sizes();
  if (sequences_ <= kVerifiedSequences && entries_ <= kVerifiedSequences) {
    check_sequences(0, sequences_);
    check_documents(0, entries_);
  }
}

void MegatronDataset::read_header() {
  const std::byte* data = idx_.bytes().data();
  const auto bytes = static_cast<std::int64_t>(idx_.size());
  require<FormatError>(bytes >= kMegatronHeaderBytes,
                       "{}: truncated: the header takes {} bytes, the file has {}",
                       idx_.path().string(), kMegatronHeaderBytes, bytes);
  const std::string_view magic(reinterpret_cast<const char*>(data), kMegatronMagic.size());
  require<FormatError>(magic == kMegatronMagic,
                       "{}: not a Megatron index: expected the magic \"{}\", found \"{}\"",
                       idx_.path().string(), printable(kMegatronMagic), printable(magic));
  const auto version = load_unaligned<std::uint64_t>(data + 9);
  require<FormatError>(version == 1, "{}: expected version 1 of the index, found {}",
                       idx_.path().string(), version);
  const auto code = std::to_integer<int>(data[17]);
  require<FormatError>((code >= 1 && code <= 5) || code == 8,
                       "{}: dtype code {} is not one of integers (1 u8, 2 i8, 3 i16, 4 i32, 5 i64, "
                       "8 u16)",
                       idx_.path().string(), code);
  type_ = static_cast<TokenType>(code);
  item_bytes_ = size_of(type_);
  // A count above the file's size is a damaged header; it must not overflow in the sums below.
  const auto sequences = load_unaligned<std::uint64_t>(data + 18);
  const auto entries = load_unaligned<std::uint64_t>(data + 26);
  require<FormatError>(sequences <= idx_.size() && entries <= idx_.size(),
                       "{}: truncated: {} and {} do not fit in {}", idx_.path().string(),
                       counted(sequences, "sequence"), counted(entries, "document entry"),
                       counted(bytes, "byte"));
  sequences_ = static_cast<std::int64_t>(sequences);
  entries_ = static_cast<std::int64_t>(entries);
}

void MegatronDataset::check_sizes() {
  const std::int64_t expected = kMegatronHeaderBytes + 12 * sequences_ + 8 * entries_;
  const auto idx_bytes = static_cast<std::int64_t>(idx_.size());
  require<FormatError>(idx_bytes == expected,
                       "{}: {}: {} and {} take {}, the file has "
                       "{}",
                       idx_.path().string(), idx_bytes < expected ? "truncated" : "too long",
                       counted(sequences_, "sequence"), counted(entries_, "document entry"),
                       counted(expected, "byte"), idx_bytes);
  require<FormatError>(
      entries_ >= 1 && document_index(0) == 0 && document_index(entries_ - 1) == sequences_,
      "{}: the document index must begin with 0 and end with the number of sequences, {}",
      idx_.path().string(), sequences_);
  const std::int64_t bin_bytes =
      sequences_ == 0 ? 0 : byte_offset(sequences_ - 1) + length(sequences_ - 1) * item_bytes_;
  const auto found = static_cast<std::int64_t>(bin_.size());
  require<FormatError>(found == bin_bytes, "{}: {}: {} describes {} of tokens, the file has {}",
                       bin_.path().string(), found < bin_bytes ? "truncated" : "wrong size",
                       idx_.path().string(), counted(bin_bytes, "byte"), found);
  size_ = found / item_bytes_;
}

void MegatronDataset::check_sequences(std::int64_t begin, std::int64_t end) const {
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t next =
        i + 1 < sequences_ ? byte_offset(i + 1) : static_cast<std::int64_t>(bin_.size());
    const std::int64_t offset = byte_offset(i);
    require<FormatError>(
        length(i) >= 0 && offset >= 0 && (i > 0 || offset == 0) &&
            offset + length(i) * item_bytes_ == next &&
            next <= static_cast<std::int64_t>(bin_.size()),
        "{}: sequence {} has length {} at byte {}, but the next one starts at byte "
        "{} of {}: lengths and offsets must follow one another without gaps",
        idx_.path().string(), i, length(i), offset, next, bin_.size());
  }
}

void MegatronDataset::check_documents(std::int64_t begin, std::int64_t end) const {
  for (std::int64_t d = begin; d < end; ++d) {
    const std::int64_t previous = d == 0 ? 0 : document_index(d - 1);
    require<FormatError>(document_index(d) >= previous && document_index(d) <= sequences_,
                         "{}: entry {} of the document index is {}, expected {} to {}",
                         idx_.path().string(), d, document_index(d), previous, sequences_);
  }
}

std::int64_t MegatronDataset::length(std::int64_t sequence) const {
  return load_unaligned<std::int32_t>(idx_.bytes().data() + kMegatronHeaderBytes + 4 * sequence);
}

std::int64_t MegatronDataset::byte_offset(std::int64_t sequence) const {
  return load_unaligned<std::int64_t>(idx_.bytes().data() + kMegatronHeaderBytes + 4 * sequences_ +
                                      8 * sequence);
}

std::int64_t MegatronDataset::document_index(std::int64_t entry) const {
  return load_unaligned<std::int64_t>(idx_.bytes().data() + kMegatronHeaderBytes + 12 * sequences_ +
                                      8 * entry);
}

std::int64_t MegatronDataset::sequence_from(std::int64_t position) const {
  return first_where(sequences_,
                     [&](std::int64_t i) { return byte_offset(i) >= position * item_bytes_; });
}

std::int64_t MegatronDataset::document_from(std::int64_t sequence) const {
  return first_where(entries_, [&](std::int64_t d) { return document_index(d) >= sequence; });
}

void MegatronDataset::read(std::int64_t begin, std::span<std::int32_t> out) const {
  assert(begin >= 0 && begin + static_cast<std::int64_t>(out.size()) <= size_);
  bin_.require_whole();
  const auto bad = copy_tokens(bin_.bytes(), type_, vocab_size_, begin, out);
  if (!bad) [[likely]]
    return;
  const std::int64_t sequence = sequence_from(bad->position + 1) - 1;
  fail<FormatError>(
      "{}: sequence {} has token id {} at position {}, but the model's vocab_size is {}: "
      "use the tokenizer that the dataset was made with, or a larger vocab_size",
      bin_.path().string(), sequence, bad->id, bad->position - byte_offset(sequence) / item_bytes_,
      vocab_size_);
}

void MegatronDataset::read_ids(std::int64_t begin, std::span<std::int64_t> out) const {
  assert(begin >= 0 && begin + static_cast<std::int64_t>(out.size()) <= size_);
  bin_.require_whole();
  copy_ids(bin_.bytes(), type_, begin, out);
}

void MegatronDataset::append_document_starts(std::int64_t begin, std::int64_t end,
                                             std::vector<std::int64_t>& starts) const {
  idx_.require_whole();
  const std::size_t before = starts.size();
  std::int64_t entry = document_from(sequence_from(begin));
  std::int64_t sequence = document_index(entry);
  while (sequence < sequences_ && byte_offset(sequence) < end * item_bytes_) {
    check_documents(entry, entry + 2);
    check_sequences(sequence, sequence + 1);
    const std::int64_t start = byte_offset(sequence) / item_bytes_;
    // Documents without tokens start where the next one does.
    if (starts.size() == before || starts.back() != start) starts.push_back(start);
    sequence = document_index(++entry);
  }
}

std::int64_t MegatronDataset::document_start_from(std::int64_t position) const {
  const std::int64_t sequence = document_index(document_from(sequence_from(position)));
  if (sequence >= sequences_) return size_;
  check_sequences(sequence, sequence + 1);
  return byte_offset(sequence) / item_bytes_;
}

void MegatronDataset::verify() const {
  check_sequences(0, sequences_);
  check_documents(0, entries_);
  std::vector<std::int32_t> block(std::size_t{1} << 16);
  for (std::int64_t at = 0; at < size_; at += static_cast<std::int64_t>(block.size())) {
    const auto count = std::min<std::int64_t>(static_cast<std::int64_t>(block.size()), size_ - at);
    read(at, std::span(block).first(static_cast<std::size_t>(count)));
  }
}

}  // namespace gda
