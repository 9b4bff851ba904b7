// Token ids on disk, mapped into memory.
//
// A dataset is one stream of tokens 0 ... size() - 1 that is cut into documents. Opening reads the
// header, and the tables only if they are small (kVerifiedSequences), so that start-up does not
// grow with the corpus; what was not verified at opening is verified when it is read.
//
// Formats: a Megatron indexed dataset (PREFIX.bin and PREFIX.idx), and llm.c shards (GPT-2 with
// 16-bit and Llama 3 with 32-bit tokens).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace gda {

class TokenDataset {
 public:
  // Tables of at most this many sequences (12 bytes each) are verified when they are opened.
  static constexpr std::int64_t kVerifiedSequences = std::int64_t{1} << 20;

  virtual ~TokenDataset() = default;

  // The file that holds the tokens, for messages.
  virtual const std::filesystem::path& path() const = 0;
  // All files that it is made of.
  virtual std::vector<std::filesystem::path> files() const { return {path()}; }
  // Tokens.
  virtual std::int64_t size() const = 0;

  // Copies tokens [begin, begin + out.size()), which must lie inside the dataset. Throws
  // FormatError that names file, sequence and id if one is not in [0, vocab_size).
  virtual void read(std::int64_t begin, std::span<std::int32_t> out) const = 0;

  // The same as they are stored, whatever they are.
  virtual void read_ids(std::int64_t begin, std::span<std::int64_t> out) const = 0;

  // Appends the positions p, begin <= p < end, where a document starts, in ascending order.
  virtual void append_document_starts(std::int64_t begin, std::int64_t end,
                                      std::vector<std::int64_t>& starts) const = 0;

  // The first document start at or after `position`; size() if there is none.
  virtual std::int64_t document_start_from(std::int64_t position) const = 0;

  // Reads everything: every table entry and every token. Throws FormatError.
  virtual void verify() const = 0;
};

// Opens PREFIX, PREFIX.bin or PREFIX.idx, an llm.c shard, or a folder: all datasets in it, in the
// order of their names. Token ids must be below vocab_size. Throws IoError (missing), FormatError
// (not what it should be).
std::vector<std::unique_ptr<TokenDataset>> open_token_datasets(const std::string& path,
                                                               std::int64_t vocab_size);

}  // namespace gda
