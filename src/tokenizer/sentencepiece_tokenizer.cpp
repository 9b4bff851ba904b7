#include "tokenizer/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <atomic>

#include "core/utf8.h"
#include "gda/core/checksum.h"
#include "gda/core/error.h"
#include "gda/core/file.h"
#include "tokenizer/word_cache.h"

namespace gda {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581
// A private-use character, which no vocabulary is trained on.
constexpr std::string_view kSentinel = "\xEF\xA3\xBF";  // U+F8FF
// Names under which vocabularies keep a token for the end of a document.
constexpr std::array<std::string_view, 4> kEodPieces{"<|endoftext|>", "<|end_of_text|>", "<eod>",
                                                     "<|eod|>"};
// Distinguishes tokenizers in the caches of threads; an address could be used again.
std::uint64_t next_owner() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

std::string with_spaces(std::string_view piece) {
  std::string text;
  while (!piece.empty()) {
    const bool is_space = piece.starts_with(kSpaceMark);
    text += is_space ? ' ' : piece[0];
    piece.remove_prefix(is_space ? kSpaceMark.size() : 1);
  }
  return text;
}

// A space mark after something else: such a piece crosses the end of a word.
bool crosses_words(std::string_view piece) {
  while (piece.starts_with(kSpaceMark)) piece.remove_prefix(kSpaceMark.size());
  return piece.find(kSpaceMark) != std::string_view::npos;
}

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(const std::filesystem::path& path)
    : path_(path),
      processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()),
      cache_owner_(next_owner()) {
  const std::string model = read_text_file(path);
  fingerprint_ = fmt::format("{:016x}", hash_name(model));
  const auto status = processor_->LoadFromSerializedProto(model);
  require<FormatError>(!model.empty() && status.ok() && processor_->GetPieceSize() > 0,
                       "{}: not a SentencePiece model, or truncated ({} bytes)", path.string(),
                       model.size());
  read_vocabulary();
  find_eod();
  learn_prefix();
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

void SentencePieceTokenizer::read_vocabulary() {
  byte_id_.fill(-1);
  bool crosses = false;
  cuts_at_newlines_ = true;
  for (int id = 0; id < processor_->GetPieceSize(); ++id) {
    const std::string& piece = processor_->IdToPiece(id);
    if (processor_->IsByte(id)) {
      const auto byte = std::stoul(piece.substr(3, 2), nullptr, 16);
      byte_id_.at(byte) = id;
      bytes_.emplace_back(1, static_cast<char>(byte));
    } else if (processor_->IsControl(id)) {
      bytes_.emplace_back();
    } else {
      bytes_.push_back(processor_->IsUnknown(id) ? "\xE2\x81\x87" : with_spaces(piece));
      crosses = crosses || crosses_words(piece);
      cuts_at_newlines_ = cuts_at_newlines_ && piece.find('\n') == std::string::npos;
    }
  }
  // A normaliser may look across a space; one that keeps this text as it is does not.
  const std::string probe = "a  b \xEF\xBC\xA1 \xEF\xAC\x81  ";
  std::string kept;
  for (const int id : processor_->EncodeAsIds(probe)) kept += bytes_[static_cast<std::size_t>(id)];
  cuts_at_spaces_ = !crosses && kept == probe;
}

void SentencePieceTokenizer::find_eod() {
  eod_id_ = eos_id();
  for (const auto name : kEodPieces) {
    const int id = processor_->PieceToId(name);
    if (processor_->IdToPiece(id) == name) {
      eod_id_ = id;
      break;
    }
  }
}

void SentencePieceTokenizer::learn_prefix() {
  std::vector<std::string> pieces;
  const auto status = processor_->Encode("a", &pieces);
  has_prefix_ = status.ok() && !pieces.empty() && pieces.front().starts_with(kSpaceMark);
  prefix_tokens_ = processor_->EncodeAsIds(kSentinel).size();
}

std::int32_t SentencePieceTokenizer::bos_id() const {
  return processor_->bos_id();
}

std::int32_t SentencePieceTokenizer::eos_id() const {
  return processor_->eos_id();
}

void SentencePieceTokenizer::encode_span(std::string_view text, std::vector<std::int32_t>& ids,
                                         bool continues) const {
  std::vector<int> found;
  const bool hides_prefix = has_prefix_ && continues;
  const auto status = hides_prefix ? processor_->Encode(std::string(kSentinel).append(text), &found)
                                   : processor_->Encode(text, &found);
  require<Error>(status.ok(), "{}: cannot encode: {}", path_.string(), status.ToString());
  const auto skip = hides_prefix ? static_cast<std::ptrdiff_t>(prefix_tokens_) : 0;
  ids.insert(ids.end(), found.begin() + skip, found.end());
}

std::size_t SentencePieceTokenizer::word_size(std::string_view text) const {
  const std::string_view ends = cuts_at_newlines_ ? " \n" : " ";
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == 0 && cuts_at_newlines_ && text[0] == '\n') return 1;
  const std::size_t end = begin == std::string_view::npos ? begin : text.find_first_of(ends, begin);
  return std::min(end, text.size());
}

void SentencePieceTokenizer::encode_characters(std::string_view text,
                                               std::vector<std::int32_t>& ids,
                                               bool continues) const {
  if (!cuts_at_spaces_) {
    if (!text.empty()) encode_span(text, ids, continues);
    return;
  }
  const auto encode_word = [this](std::string_view word, std::vector<std::int32_t>& found) {
    encode_span(word, found, true);
  };
  WordCache& cache = WordCache::of_thread(cache_owner_);
  while (!text.empty()) {
    const std::string_view word = text.substr(0, word_size(text));
    if (word.size() <= WordCache::kLongestWord) {
      cache.append(word, ids, encode_word);
    } else {
      encode_word(word, ids);
    }
    text.remove_prefix(word.size());
  }
}

void SentencePieceTokenizer::encode_byte(char byte, std::vector<std::int32_t>& ids) const {
  const std::int32_t id = byte_id_[static_cast<unsigned char>(byte)];
  if (id >= 0 || processor_->unk_id() >= 0) ids.push_back(id >= 0 ? id : processor_->unk_id());
}

void SentencePieceTokenizer::encode(std::string_view text, std::vector<std::int32_t>& ids,
                                    bool continues) const {
  std::size_t begin = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const std::string_view rest = text.substr(at);
    const std::size_t size = utf8_character_size(rest);
    if (size > 0 && !rest.starts_with(kSpaceMark)) {
      at += size;
      continue;
    }
    encode_characters(text.substr(begin, at - begin), ids, continues || begin > 0);
    const std::size_t end = at + std::max<std::size_t>(size, 1);
    for (; at < end; ++at) encode_byte(text[at], ids);
    begin = at;
  }
  encode_characters(text.substr(begin), ids, continues || begin > 0);
}

std::string SentencePieceTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    require<Error>(id >= 0 && id < vocab_size(), "{}: cannot decode id {}: the vocabulary has {}",
                   path_.string(), id, vocab_size());
    text += bytes_[static_cast<std::size_t>(id)];
  }
  if (has_prefix_ && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

}  // namespace gda
