// A token shard of llm.c: 256 little-endian i32 of header, then the tokens.
//
//   GPT-2:   header [20240520, 1, tokens], u16 tokens, documents start with 50256 (<|endoftext|>)
//   Llama 3: header [20240801, 7, tokens], u32 tokens, documents start with 128000
//            (<|begin_of_text|>)
//
// The shard holds no table of documents: they are found by their first token.
#pragma once

#include <filesystem>

#include "data/token_array.h"
#include "gda/core/mapped_file.h"
#include "gda/data/token_dataset.h"

namespace gda {

class LlmcDataset final : public TokenDataset {
 public:
  LlmcDataset(const std::filesystem::path& path, std::int64_t vocab_size);

  // Whether the file begins with one of the two magic numbers.
  static bool has_magic(const std::filesystem::path& path);

  const std::filesystem::path& path() const override { return file_.path(); }
  std::int64_t size() const override { return size_; }
  void read(std::int64_t begin, std::span<std::int32_t> out) const override;
  void read_ids(std::int64_t begin, std::span<std::int64_t> out) const override;
  void append_document_starts(std::int64_t begin, std::int64_t end,
                              std::vector<std::int64_t>& starts) const override;
  std::int64_t document_start_from(std::int64_t position) const override;
  void verify() const override;

 private:
  bool starts_document(std::int64_t position) const;

  MappedFile file_;
  std::span<const std::byte> tokens_;
  std::int64_t vocab_size_;
  TokenType type_ = TokenType::u16;
  std::int64_t first_token_ = 0;
  std::int64_t size_ = 0;
};

}  // namespace gda
