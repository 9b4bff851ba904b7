#include "gda/data/token_writer.h"

#include <algorithm>
#include <cassert>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <vector>

#include "data/buffered_writer.h"
#include "data/content_summary.h"
#include "data/dataset_sidecar.h"
#include "data/megatron_dataset.h"
#include "gda/core/error.h"
#include "gda/core/file.h"

namespace gda {
namespace {
namespace fs = std::filesystem;

// A longer document becomes several sequences of one document.
constexpr std::int64_t kLongestSequence = std::numeric_limits<std::int32_t>::max();

}  // namespace

struct TokenDatasetWriter::State {
  fs::path bin, idx, bin_part, lengths_part, idx_part;
  std::optional<TokenizerIdentity> tokenizer;
  ContentSummary summary;
  std::int64_t vocab_size = 0;
  TokenType type = TokenType::i32;
  std::optional<BufferedWriter> tokens_file;
  // One i32 a sequence; negative if the sequence continues the document of the one before.
  std::optional<BufferedWriter> lengths_file;
  std::int64_t sequence_tokens = 0;
  bool continues_document = false;
  std::int64_t sequences = 0;
  std::int64_t documents = 0;
  std::int64_t tokens = 0;

  void put(std::int32_t token) {
    assert(token >= 0 && token < vocab_size);
    if (type == TokenType::u16) {
      tokens_file->put(static_cast<std::uint16_t>(token));
    } else {
      tokens_file->put(token);
    }
    ++tokens;
    if (++sequence_tokens < kLongestSequence) return;
    end_sequence();
    continues_document = true;
  }

  void end_sequence() {
    const auto length = static_cast<std::int32_t>(sequence_tokens);
    lengths_file->put(continues_document ? -length : length);
    if (!continues_document) ++documents;
    ++sequences;
    sequence_tokens = 0;
  }

  // Calls f(sequence, length, continues_document) for every sequence.
  template <class F>
  void for_each_sequence(F&& f) const {
    std::ifstream file(lengths_part, std::ios::binary);
    std::int32_t length = 0;
    for (std::int64_t i = 0; i < sequences; ++i) {
      file.read(reinterpret_cast<char*>(&length), sizeof(length));
      require<IoError>(bool{file}, "cannot read back {}", lengths_part.string());
      f(i, std::abs(length), length < 0);
    }
  }

  void write_index() const;
};

void TokenDatasetWriter::State::write_index() const {
  BufferedWriter file(idx_part);
  file.put(kMegatronMagic);
  file.put(std::uint64_t{1});
  file.put(static_cast<std::uint8_t>(type));
  file.put(static_cast<std::uint64_t>(sequences));
  file.put(static_cast<std::uint64_t>(documents + 1));
  for_each_sequence([&](std::int64_t, std::int32_t length, bool) { file.put(length); });
  std::int64_t offset = 0;
  for_each_sequence([&](std::int64_t, std::int32_t length, bool) {
    file.put(offset);
    offset += length * size_of(type);
  });
  for_each_sequence([&](std::int64_t sequence, std::int32_t, bool continues) {
    if (!continues) file.put(sequence);
  });
  file.put(sequences);
  file.commit();
}

TokenDatasetWriter::TokenDatasetWriter(const std::string& prefix, std::int64_t vocab_size,
                                       std::optional<TokenizerIdentity> tokenizer)
    : state_(std::make_unique<State>()) {
  state_->tokenizer = std::move(tokenizer);
  const fs::path folder = fs::path(prefix).parent_path();
  if (!folder.empty()) make_directories(folder);
  state_->bin = prefix + ".bin";
  state_->idx = prefix + ".idx";
  state_->bin_part = temporary_beside(state_->bin);
  state_->idx_part = temporary_beside(state_->idx);
  state_->lengths_part = temporary_beside(prefix + ".lengths");
  state_->vocab_size = vocab_size;
  state_->type = vocab_size < kTwoByteVocabulary ? TokenType::u16 : TokenType::i32;
  state_->tokens_file.emplace(state_->bin_part);
  state_->lengths_file.emplace(state_->lengths_part);
}

TokenDatasetWriter::~TokenDatasetWriter() {
  std::error_code ignored;
  for (const auto& part : {state_->bin_part, state_->idx_part, state_->lengths_part}) {
    fs::remove(part, ignored);
  }
}

void TokenDatasetWriter::append(std::span<const std::int32_t> tokens) {
  if (tokens.empty()) return;
  State& state = *state_;
  if (state.sequence_tokens == 0 && !state.continues_document) state.summary.start_document();
  state.summary.add(tokens);
  for (const std::int32_t token : tokens) state.put(token);
}

void TokenDatasetWriter::end_document() {
  if (state_->sequence_tokens > 0) state_->end_sequence();
  state_->continues_document = false;
}

void TokenDatasetWriter::finish() {
  State& state = *state_;
  end_document();
  state.tokens_file->commit();
  state.lengths_file->commit();
  state.write_index();
  // An older index must never stand beside the new tokens, nor what was said of older ones.
  std::error_code missing;
  const fs::path sidecar = sidecar_beside(state.bin);
  fs::remove(sidecar, missing);
  fs::remove(state.idx, missing);
  rename_durably(state.bin_part, state.bin);
  rename_durably(state.idx_part, state.idx);
  fs::remove(state.lengths_part, missing);
  DatasetIdentity identity = state.summary.finish();
  identity.tokenizer = state.tokenizer;
  write_sidecar(sidecar, {.identity = identity, .files = stamps_of({state.bin, state.idx})});
}

std::int64_t TokenDatasetWriter::documents() const {
  return state_->documents;
}

std::int64_t TokenDatasetWriter::tokens() const {
  return state_->tokens;
}

}  // namespace gda
