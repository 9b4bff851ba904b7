#include "data/llmc_dataset.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <fstream>

#include "gda/core/text.h"

namespace gda {
namespace {

constexpr std::size_t kHeaderBytes = 1024;

struct Variant {
  std::int32_t magic;
  std::int32_t version;
  TokenType type;
  std::int64_t first_token;
};

constexpr std::array<Variant, 2> kVariants{{
    {20240520, 1, TokenType::u16, 50256},
    {20240801, 7, TokenType::u32, 128000},
}};

const Variant* find_variant(std::int32_t magic) {
  const auto* found = std::find_if(kVariants.begin(), kVariants.end(),
                                   [&](const Variant& variant) { return variant.magic == magic; });
  return found == kVariants.end() ? nullptr : found;
}

}  // namespace

bool LlmcDataset::has_magic(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::array<char, 4> bytes{};
  file.read(bytes.data(), bytes.size());
  return file &&
         find_variant(load_unaligned<std::int32_t>(std::as_bytes(std::span(bytes)).data())) !=
             nullptr;
}

LlmcDataset::LlmcDataset(const std::filesystem::path& path, std::int64_t vocab_size)
    : file_(path), vocab_size_(vocab_size) {
  require<FormatError>(file_.size() >= kHeaderBytes,
                       "{}: truncated: the header of an llm.c shard takes {} bytes, the file has "
                       "{}",
                       path.string(), kHeaderBytes, file_.size());
  const std::byte* data = file_.bytes().data();
  const auto magic = load_unaligned<std::int32_t>(data);
  const Variant* variant = find_variant(magic);
  require<FormatError>(variant != nullptr,
                       "{}: not an llm.c shard: expected the magic 20240520 or 20240801, found {}",
                       path.string(), magic);
  const auto version = load_unaligned<std::int32_t>(data + 4);
  require<FormatError>(version == variant->version,
                       "{}: expected version {} of the llm.c shard, found {}", path.string(),
                       variant->version, version);
  type_ = variant->type;
  first_token_ = variant->first_token;
  size_ = load_unaligned<std::int32_t>(data + 8);
  const std::int64_t expected = static_cast<std::int64_t>(kHeaderBytes) + size_ * size_of(type_);
  require<FormatError>(
      size_ >= 0 && static_cast<std::int64_t>(file_.size()) == expected,
      "{}: {}: {} take {} with the header, the file has {}", path.string(),
      static_cast<std::int64_t>(file_.size()) < expected ? "truncated" : "wrong size",
      counted(size_, "token"), counted(expected, "byte"), file_.size());
  tokens_ = file_.bytes().subspan(kHeaderBytes);
}

void LlmcDataset::read(std::int64_t begin, std::span<std::int32_t> out) const {
  assert(begin >= 0 && begin + static_cast<std::int64_t>(out.size()) <= size_);
  file_.require_whole();
  if (const auto bad = copy_tokens(tokens_, type_, vocab_size_, begin, out)) {
    fail<FormatError>(
        "{}: token {} has id {}, but the model's vocab_size is {}: use the tokenizer that the "
        "dataset was made with, or a larger vocab_size",
        path().string(), bad->position, bad->id, vocab_size_);
  }
}

void LlmcDataset::read_ids(std::int64_t begin, std::span<std::int64_t> out) const {
  assert(begin >= 0 && begin + static_cast<std::int64_t>(out.size()) <= size_);
  file_.require_whole();
  copy_ids(tokens_, type_, begin, out);
}

bool LlmcDataset::starts_document(std::int64_t position) const {
  const std::byte* at = tokens_.data() + position * size_of(type_);
  const std::int64_t id = type_ == TokenType::u16 ? std::int64_t{load_unaligned<std::uint16_t>(at)}
                                                  : std::int64_t{load_unaligned<std::uint32_t>(at)};
  return position == 0 || id == first_token_;
}

void LlmcDataset::append_document_starts(std::int64_t begin, std::int64_t end,
                                         std::vector<std::int64_t>& starts) const {
  for (std::int64_t i = begin; i < std::min(end, size_); ++i) {
    if (starts_document(i)) starts.push_back(i);
  }
}

std::int64_t LlmcDataset::document_start_from(std::int64_t position) const {
  while (position < size_ && !starts_document(position)) ++position;
  return position;
}

void LlmcDataset::verify() const {
  std::vector<std::int32_t> block(std::size_t{1} << 16);
  for (std::int64_t at = 0; at < size_; at += static_cast<std::int64_t>(block.size())) {
    const auto count = std::min<std::int64_t>(static_cast<std::int64_t>(block.size()), size_ - at);
    read(at, std::span(block).first(static_cast<std::size_t>(count)));
  }
}

}  // namespace gda
