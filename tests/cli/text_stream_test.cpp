#include "cli/text_stream.h"

#include <gtest/gtest.h>

namespace gda::cli {
namespace {

// Token i is byte i.
class Bytes : public Tokenizer {
 public:
  using Tokenizer::encode;
  void encode(std::string_view text, std::vector<std::int32_t>& ids, bool) const override {
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  }
  // As tokenizers that mark the beginning of a text with a space do.
  std::string decode(std::span<const std::int32_t> ids) const override {
    std::string text;
    for (const std::int32_t id : ids) text += static_cast<char>(id);
    return text.starts_with(' ') ? text.substr(1) : text;
  }
  TokenizerIdentity identity() const override { return {"bytes", "0", vocab_size()}; }
  std::int64_t vocab_size() const override { return 256; }
  std::int32_t bos_id() const override { return -1; }
  std::int32_t eos_id() const override { return -1; }
  std::int32_t eod_id() const override { return -1; }
};

// What comes with each byte, and at the end.
std::vector<std::string> parts_of(std::string_view text) {
  const Bytes tokenizer;
  TextStream stream(tokenizer);
  std::vector<std::string> parts;
  for (const char c : text) parts.push_back(stream.add(static_cast<unsigned char>(c)));
  parts.push_back(stream.finish());
  return parts;
}

using Parts = std::vector<std::string>;
const std::string kReplacement = "\xEF\xBF\xBD";

TEST(TextStream, HoldsBackUnfinishedCharacters) {
  EXPECT_EQ(parts_of("a\xC3\xA9"), (Parts{"a", "", "é", ""}));
  EXPECT_EQ(parts_of("한"), (Parts{"", "", "한", ""}));
  EXPECT_EQ(parts_of("\xF0\x9F\x98\x80!"), (Parts{"", "", "", "\xF0\x9F\x98\x80", "!", ""}));
}

TEST(TextStream, KeepsSpacesInFrontOfWords) {
  EXPECT_EQ(parts_of(" b"), (Parts{" ", "b", ""}));
}

TEST(TextStream, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(parts_of("\xFF"), (Parts{kReplacement, ""}));
  EXPECT_EQ(parts_of("\xC3z"), (Parts{"", kReplacement + "z", ""}));
  EXPECT_EQ(parts_of("\xE0\x80"), (Parts{"", kReplacement + kReplacement, ""}));
  EXPECT_EQ(parts_of("\xED\x95"), (Parts{"", "", kReplacement + kReplacement}));
}

TEST(TextStream, LeavesOutIdsBeyondTheTokenizer) {
  const Bytes tokenizer;
  TextStream stream(tokenizer);
  EXPECT_EQ(stream.add(256), "");
  EXPECT_EQ(stream.add('x'), "x");
}

}  // namespace
}  // namespace gda::cli
