// Training a tokenizer: SentencePiece byte-pair encoding that loses nothing.
//
// No normalisation, white space kept as it is, no space put in front; characters outside the
// vocabulary become their UTF-8 bytes; every digit is a piece of its own. Ids: 0 <unk>, 1 <s>,
// 2 </s>, 3 <|endoftext|> (the end of a document), then 256 bytes, then pieces.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "gda/data/corpus.h"

namespace gda {

struct TokenizerTrainingOptions {
  std::vector<CorpusFile> files;
  JsonlOptions jsonl;
  std::int64_t vocab_size = 32000;
  // Lines are sampled uniformly from all files to at most this many bytes. Training takes several
  // times as much memory.
  std::int64_t sample_bytes = std::int64_t{100} << 20;
  // Share of the sample's characters that get a piece of their own.
  double character_coverage = 0.9995;
  std::uint64_t seed = 1;  // of the sample
  int threads = 0;         // 0: as many as the machine has
};

struct TokenizerTrainingSummary {
  std::int64_t bytes = 0;  // of text read
  std::int64_t sampled_lines = 0;
  std::int64_t sampled_bytes = 0;
  std::int64_t documents = 0;
  CorpusDoubts doubts{};
};

// Writes the model to `output`. Throws ConfigError if the text does not fill the vocabulary.
TokenizerTrainingSummary train_tokenizer(const TokenizerTrainingOptions& options,
                                         const std::filesystem::path& output);

}  // namespace gda
