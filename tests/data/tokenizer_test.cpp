#include "gda/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include "data/scratch.h"
#include "gda/data/tokenizer_training.h"

namespace gda {
namespace {
using test::message_of;
using test::scratch_folder;

constexpr std::string_view kEnglish =
    "The quick brown fox jumps over the lazy dog while 1234 other dogs  watch it jump.\n"
    "Nobody watches the dogs that watch the fox, and the fox watches nobody.\n";
constexpr std::string_view kKorean =
    "비행기가 이륙하고 있다. 한 남자가 큰 플루트를 연주하고 있다.\n"
    "남자가 피아노를 연주하고 있다. 두 남자가 체스를 하고 있다.\n";

std::filesystem::path write_text(const std::string& name, std::string_view text) {
  const auto path = scratch_folder() / name;
  write_text_file_atomically(path, text);
  return path;
}

std::filesystem::path train(const std::filesystem::path& folder, std::int64_t vocab_size) {
  write_text_file_atomically(folder / "en.txt", kEnglish);
  write_text_file_atomically(folder / "ko.txt", kKorean);
  TokenizerTrainingOptions options;
  options.files = find_corpus_files({folder.string()}, "auto");
  options.vocab_size = vocab_size;
  options.character_coverage = 1;
  options.threads = 1;
  train_tokenizer(options, folder / "t.model");
  return folder / "t.model";
}

class TrainedTokenizer : public testing::Test {
 protected:
  static void SetUpTestSuite() { tokenizer = open_tokenizer(train(scratch_folder(), 400)); }
  static void TearDownTestSuite() { tokenizer.reset(); }
  static void expect_kept(std::string_view text) {
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  }
  static std::unique_ptr<Tokenizer> tokenizer;
};
std::unique_ptr<Tokenizer> TrainedTokenizer::tokenizer;

TEST_F(TrainedTokenizer, HasTheSpecialTokens) {
  EXPECT_EQ(tokenizer->vocab_size(), 400);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_EQ(tokenizer->eod_id(), 3);
  EXPECT_EQ(tokenizer->decode(std::vector<std::int32_t>{1, 2, 3}), "");
  // Names of special tokens in a text are text.
  for (const std::int32_t id : tokenizer->encode("<s></s><|endoftext|>")) EXPECT_GT(id, 3);
}

TEST_F(TrainedTokenizer, LearnsPiecesAndSplitsDigits) {
  EXPECT_LT(tokenizer->encode(kEnglish).size(), kEnglish.size() / 2);
  EXPECT_LT(tokenizer->encode(kKorean).size(), kKorean.size() / 3);
  EXPECT_EQ(tokenizer->encode("1234").size(), 4U);
}

TEST_F(TrainedTokenizer, KeepsEveryText) {
  for (const std::string_view text :
       {std::string_view(), kEnglish, kKorean, std::string_view("  two  spaces  "),
        std::string_view("\n\n\ttabs\r\n"), std::string_view("\xE2\x96\x81marks\xE2\x96\x81"),
        std::string_view("\xEF\xBF\xBD \xE2\x96\x85 \xE2\x81\x87 <0x41> <unk>"),
        std::string_view("emoji \xF0\x9F\x98\x80, e\xCC\x81, \xEF\xBC\xA1, \xEF\xAC\x81"),
        std::string_view("nul \0 inside", 12)}) {
    expect_kept(text);
  }
}

TEST_F(TrainedTokenizer, KeepsBytesThatAreNotUtf8) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  expect_kept(all);
  for (const std::string_view text :
       {"\xFF", "a\x80z", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC0\xAF", "cut \xEB\xB9",
        "\xEB\xB9 cut", "\xF0\x9F\x98", "\xE2\x96\x81\xFF\xE2\x96"}) {
    expect_kept(text);
  }
  // Truncated Hangul inside words: the valid rest keeps its usual tokens.
  const auto ids = tokenizer->encode("dogs\xEB\xB9 the");
  const auto end = tokenizer->encode(" the");
  EXPECT_TRUE(std::equal(end.rbegin(), end.rend(), ids.rbegin()));
}

TEST_F(TrainedTokenizer, CutsLongTextsWithoutChangingTokens) {
  std::string text;
  std::vector<std::int32_t> expected;
  for (int i = 0; i < 200; ++i) {
    const std::string part = i % 3 == 0 ? "   jumps over 남자가" : " the quick 비행기가";
    text += part;
    tokenizer->encode(part, expected, i > 0);
  }
  EXPECT_GT(text.size(), 4000U);
  EXPECT_EQ(tokenizer->encode(text), expected);
}

TEST_F(TrainedTokenizer, RefusesIdsOutsideTheVocabulary) {
  const auto error = [&](std::int32_t id) {
    return message_of<Error>([&] { static_cast<void>(tokenizer->decode(std::vector{id})); });
  };
  EXPECT_CONTAINS(error(400), "cannot decode id 400: the vocabulary has 400");
  EXPECT_CONTAINS(error(-1), "cannot decode id -1");
}

TEST(OpenTokenizer, SaysWhatIsWrong) {
  EXPECT_CONTAINS(message_of<IoError>([] { open_tokenizer("/nonexistent/t.model"); }),
                  "cannot open /nonexistent/t.model");
  for (const std::string_view content : {"", "not a model at all"}) {
    const auto path = write_text("t.model", content);
    EXPECT_EQ(message_of<FormatError>([&] { open_tokenizer(path); }),
              fmt::format("{}: not a SentencePiece model, or truncated ({} bytes)", path.string(),
                          content.size()));
  }
}

TEST(TrainTokenizer, GivesTheSameModelTwiceAndSamplesToItsLimit) {
  const auto folder = scratch_folder();
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    text += fmt::format("line {} of {} words about {}\n", i, i * 7 % 31, i * i);
  }
  write_text_file_atomically(folder / "x.txt", text);
  TokenizerTrainingOptions options;
  options.files = find_corpus_files({(folder / "x.txt").string()}, "text-line");
  options.vocab_size = 300;
  options.sample_bytes = 10000;
  const auto one = train_tokenizer(options, folder / "one.model");
  train_tokenizer(options, folder / "two.model");
  EXPECT_EQ(read_text_file(folder / "one.model"), read_text_file(folder / "two.model"));
  EXPECT_EQ(one.bytes, static_cast<std::int64_t>(text.size()));
  EXPECT_LE(one.sampled_bytes, 10000);
  EXPECT_GT(one.sampled_bytes, 9900);
  options.seed = 2;
  train_tokenizer(options, folder / "three.model");
  EXPECT_NE(read_text_file(folder / "one.model"), read_text_file(folder / "three.model"));
}

TEST(TrainTokenizer, SaysWhatCannotBe) {
  const auto folder = scratch_folder();
  EXPECT_CONTAINS(message_of<ConfigError>([&] { train(folder, 100); }),
                  "vocab-size: expected more than 260");
  EXPECT_CONTAINS(message_of<ConfigError>([&] { train(folder, 30000); }),
                  "give more text or a smaller --vocab-size");
  TokenizerTrainingOptions options;
  write_text_file_atomically(folder / "blank.jsonl", "\n");
  options.files = find_corpus_files({(folder / "blank.jsonl").string()}, "auto");
  EXPECT_CONTAINS(message_of<FormatError>([&] { train_tokenizer(options, folder / "t.model"); }),
                  "no text in the input");
  EXPECT_CONTAINS(message_of<IoError>([&] { train_tokenizer(options, "/proc/gda/t.model"); }),
                  "cannot make folder /proc/gda");
}

}  // namespace
}  // namespace gda
