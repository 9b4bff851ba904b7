// SentencePiece models, through its library.
//
// SentencePiece replaces bytes that are not UTF-8, and reads U+2581, with which it writes spaces in
// its pieces, as a space. Both are cut out of the text here and become byte tokens (<0x00> ...
// <0xFF>), so that with a model that has them and does not normalise, decode(encode(text)) is text
// for any bytes.
#pragma once

#include <array>
#include <filesystem>
#include <memory>

#include "gda/tokenizer/tokenizer.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace gda {

class SentencePieceTokenizer final : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(const std::filesystem::path& path);
  ~SentencePieceTokenizer() override;

  using Tokenizer::encode;
  void encode(std::string_view text, std::vector<std::int32_t>& ids, bool continues) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  TokenizerIdentity identity() const override {
    return {.kind = "sentencepiece", .fingerprint = fingerprint_, .vocab_size = vocab_size()};
  }
  std::int64_t vocab_size() const override { return static_cast<std::int64_t>(bytes_.size()); }
  std::int32_t bos_id() const override;
  std::int32_t eos_id() const override;
  std::int32_t eod_id() const override { return eod_id_; }

 private:
  void read_vocabulary();
  void find_eod();
  void learn_prefix();
  // Encodes valid UTF-8 without U+2581.
  void encode_characters(std::string_view text, std::vector<std::int32_t>& ids,
                         bool continues) const;
  // The bytes of the word that the text begins with.
  std::size_t word_size(std::string_view text) const;
  void encode_span(std::string_view text, std::vector<std::int32_t>& ids, bool continues) const;
  void encode_byte(char byte, std::vector<std::int32_t>& ids) const;

  std::filesystem::path path_;
  std::string fingerprint_;
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  std::vector<std::string> bytes_;           // per id: what it decodes to
  std::array<std::int32_t, 256> byte_id_{};  // -1: no byte tokens
  std::int32_t eod_id_ = -1;
  // A space is put before each text ("dummy prefix"). prefix_tokens_ is the number of tokens of
  // that space and of the sentinel that stands for an earlier text.
  bool has_prefix_ = false;
  std::size_t prefix_tokens_ = 0;
  // No piece goes on past the end of a word (spaces and what follows them up to the next space), so
  // words can be encoded one by one; and none past a newline.
  bool cuts_at_spaces_ = false;
  bool cuts_at_newlines_ = false;
  std::uint64_t cache_owner_;  // see word_cache.h
};

}  // namespace gda
