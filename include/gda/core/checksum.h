// Checksums of file contents.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace gda {

// XXH3, 64 bits, as data arrives.
class ContentHash {
 public:
  ContentHash();
  ~ContentHash();
  ContentHash(const ContentHash&) = delete;
  ContentHash& operator=(const ContentHash&) = delete;

  void update(std::span<const std::byte> bytes);
  // Sixteen lower-case hexadecimal digits.
  std::string hex() const;

 private:
  void* state_;
};

// XXH3-64 of a short string: a stable hash for names.
std::uint64_t hash_name(std::string_view name);

// XXH3-64 of a whole file, read in blocks.
std::string hash_file(const std::filesystem::path& path);

// CRC-32C (Castagnoli), as TensorBoard's record format uses it.
std::uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace gda
