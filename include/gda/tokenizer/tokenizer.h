// Text to token ids and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gda {

// Which tokenizer it is. Two of the same fingerprint give the same ids.
struct TokenizerIdentity {
  std::string kind;         // "sentencepiece"
  std::string fingerprint;  // XXH3-64 of the model, wherever it lies: 16 hexadecimal digits
  std::int64_t vocab_size = 0;

  bool operator==(const TokenizerIdentity&) const = default;
};

// Implementations are immutable; their methods may be called from several threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Appends the ids of `text`, without bos, eos or eod. The text may hold any bytes: what is not
  // UTF-8 becomes byte tokens. `continues`: the text goes on from one that was encoded before, so
  // nothing that marks a beginning is added.
  virtual void encode(std::string_view text, std::vector<std::int32_t>& ids,
                      bool continues = false) const = 0;
  std::vector<std::int32_t> encode(std::string_view text) const;

  // The bytes of the tokens. Special tokens have none. Bytes that are not UTF-8 come back as they
  // were. Throws Error if an id is not in [0, vocab_size).
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;

  virtual TokenizerIdentity identity() const = 0;
  virtual std::int64_t vocab_size() const = 0;
  // Ids of the tokens that begin a text, end a text and end a document; -1 if there is none. eod is
  // eos where the tokenizer has no token of its own for it.
  virtual std::int32_t bos_id() const = 0;
  virtual std::int32_t eos_id() const = 0;
  virtual std::int32_t eod_id() const = 0;
};

// Opens a SentencePiece model (.model). Throws IoError or FormatError.
std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& path);

}  // namespace gda
