#include "gda/core/checksum.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <span>
#include <string>

#include "gda/core/file.h"
#include "support/temporary_folder.h"

namespace gda {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(Crc32c, MatchesTheStandardCheckValue) {
  // RFC 3720, appendix B.4 style check: CRC-32C of "123456789".
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283U);
  EXPECT_EQ(crc32c({}), 0U);
}

TEST(ContentHash, DoesNotDependOnHowTheDataArrives) {
  ContentHash whole;
  whole.update(bytes_of("grouped differential"));
  ContentHash parts;
  parts.update(bytes_of("grouped "));
  parts.update(bytes_of("differential"));
  EXPECT_EQ(whole.hex(), parts.hex());
  EXPECT_EQ(whole.hex().size(), 16U);
}

TEST(ContentHash, OfAFileIsThatOfItsBytes) {
  const auto path = test::process_folder() / "hash";
  write_text_file_atomically(path, "content");
  ContentHash hash;
  hash.update(bytes_of("content"));
  EXPECT_EQ(hash_file(path), hash.hex());
}

}  // namespace
}  // namespace gda
