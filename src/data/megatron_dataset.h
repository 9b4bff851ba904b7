// Megatron's indexed dataset: PREFIX.bin holds the tokens and no header, PREFIX.idx the tables.
//
//   .idx  magic "MMIDIDX\0\0" | u64 version 1 | u8 dtype code | u64 S | u64 D
//         i32 length[S] | i64 byte_offset[S] | i64 document_index[D]
//
// unaligned from byte 34 on. A document d is the sequences document_index[d] ...
// document_index[d + 1] - 1. The sequences must follow one another without gaps, which is what
// every writer does, so that the .bin is one stream of tokens.
#pragma once

#include <filesystem>

#include "data/token_array.h"
#include "gda/core/mapped_file.h"
#include "gda/data/token_dataset.h"

namespace gda {

inline constexpr std::string_view kMegatronMagic{"MMIDIDX\0\0", 9};
inline constexpr std::int64_t kMegatronHeaderBytes = 34;

class MegatronDataset final : public TokenDataset {
 public:
  MegatronDataset(const std::string& prefix, std::int64_t vocab_size);

  const std::filesystem::path& path() const override { return bin_.path(); }
  std::vector<std::filesystem::path> files() const override { return {bin_.path(), idx_.path()}; }
  std::int64_t size() const override { return size_; }
  void read(std::int64_t begin, std::span<std::int32_t> out) const override;
  void read_ids(std::int64_t begin, std::span<std::int64_t> out) const override;
  void append_document_starts(std::int64_t begin, std::int64_t end,
                              std::vector<std::int64_t>& starts) const override;
  std::int64_t document_start_from(std::int64_t position) const override;
  void verify() const override;

 private:
  void read_header();
  void check_sizes();
  // Sequences [begin, end): in the file, in order, without gaps.
  void check_sequences(std::int64_t begin, std::int64_t end) const;
  // Entries [begin, end) of document_index ascend within [0, S].
  void check_documents(std::int64_t begin, std::int64_t end) const;

  std::int64_t length(std::int64_t sequence) const;
  std::int64_t byte_offset(std::int64_t sequence) const;
  std::int64_t document_index(std::int64_t entry) const;
  // The first sequence that starts at or after a token position; S if there is none.
  std::int64_t sequence_from(std::int64_t position) const;
  // The first document entry whose sequence is `sequence` or a later one.
  std::int64_t document_from(std::int64_t sequence) const;

  MappedFile idx_;
  MappedFile bin_;
  std::int64_t vocab_size_;
  TokenType type_ = TokenType::i32;
  std::int64_t item_bytes_ = 4;
  std::int64_t sequences_ = 0;
  std::int64_t entries_ = 0;  // documents + 1
  std::int64_t size_ = 0;
};

}  // namespace gda
