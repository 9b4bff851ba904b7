#include "gda/core/checksum.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <array>
#include <fstream>
#include <vector>

#include "gda/core/error.h"

namespace gda {
namespace {

// Reflected Castagnoli polynomial, one table entry a byte.
constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0x82F63B78U : 0U);
    table[i] = crc;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

}  // namespace

ContentHash::ContentHash() : state_(XXH3_createState()) {
  XXH3_64bits_reset(static_cast<XXH3_state_t*>(state_));
}

ContentHash::~ContentHash() {
  XXH3_freeState(static_cast<XXH3_state_t*>(state_));
}

void ContentHash::update(std::span<const std::byte> bytes) {
  XXH3_64bits_update(static_cast<XXH3_state_t*>(state_), bytes.data(), bytes.size());
}

std::string ContentHash::hex() const {
  return fmt::format("{:016x}", XXH3_64bits_digest(static_cast<const XXH3_state_t*>(state_)));
}

std::uint64_t hash_name(std::string_view name) {
  return XXH3_64bits(name.data(), name.size());
}

std::string hash_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  require<IoError>(stream.is_open(), "cannot open {}", path.string());
  ContentHash hash;
  std::vector<char> block(std::size_t{4} << 20);
  while (stream.read(block.data(), static_cast<std::streamsize>(block.size())),
         stream.gcount() > 0) {
    hash.update(std::as_bytes(std::span(block.data(), static_cast<std::size_t>(stream.gcount()))));
  }
  require<IoError>(!stream.bad(), "cannot read {}", path.string());
  return hash.hex();
}

std::uint32_t crc32c(std::span<const std::byte> bytes) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const std::byte byte : bytes) {
    crc = (crc >> 8) ^ kCrcTable[(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xFFU];
  }
  return ~crc;
}

}  // namespace gda
