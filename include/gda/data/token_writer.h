// Writes a Megatron indexed dataset as tokens arrive, in memory that does not grow.
//
// Tokens go to PREFIX.bin.tmp and lengths to PREFIX.idx.tmp; finish() turns them into PREFIX.bin,
// then PREFIX.idx, and then writes what the dataset is to PREFIX.gda.json (dataset_identity.h). So
// a writer that was interrupted leaves no dataset that looks whole. A destroyed writer that was not
// finished removes its temporary files.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "gda/tokenizer/tokenizer.h"

namespace gda {

class TokenDatasetWriter {
 public:
  // Two-byte tokens if vocab_size is below this, else four: the rule of Megatron's writers.
  static constexpr std::int64_t kTwoByteVocabulary = 65500;

  // `tokenizer`: whose ids they are; nothing if that is not known. Throws IoError if PREFIX's
  // folder cannot be made or written.
  TokenDatasetWriter(const std::string& prefix, std::int64_t vocab_size,
                     std::optional<TokenizerIdentity> tokenizer = {});
  ~TokenDatasetWriter();
  TokenDatasetWriter(const TokenDatasetWriter&) = delete;
  TokenDatasetWriter& operator=(const TokenDatasetWriter&) = delete;

  // Continues the current document, or begins one. Ids must be in [0, vocab_size).
  void append(std::span<const std::int32_t> tokens);
  // Ends the current document; nothing is written for one without tokens.
  void end_document();
  // Makes the dataset appear under its name, replacing an older one.
  void finish();

  std::int64_t documents() const;
  std::int64_t tokens() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gda
