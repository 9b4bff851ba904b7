// Data and tokenizers that are not the run's, as a user meets them.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "cli/run_folder.h"

namespace gda::test {
namespace {

namespace fs = std::filesystem;

// Lines of made-up words, different for each seed.
std::string words(int lines, std::uint64_t seed) {
  const std::vector<std::string> syllables{"ba", "de", "fi", "go", "ku",
                                           "la", "me", "ni", "po", "ru"};
  const Philox random(seed, RandomPurpose::test, "words");
  std::string text;
  std::uint64_t draw = 0;
  for (int line = 0; line < lines; ++line) {
    for (int word = 0; word < 12; ++word) {
      for (std::uint64_t part = 0; part < 1 + random.bits(draw) % 3; ++part) {
        text += syllables[random.bits(++draw) % syllables.size()];
      }
      ++draw;
      text += word == 11 ? ".\n" : " ";
    }
  }
  return text;
}

class DataIdentityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    make_tokenizer("tok", 1);
    tokenize("en", 1, "tok");
    config_ = tiny_run(folder_.path(), folder_ / "run");
    config_.model.vocab_size = 290;
    config_.data.sources = {{.name = "en", .path = path("en"), .weight = {}}};
    config_.data.tokenizer = path("tok.model");
    config_.train.steps = 2;
    config_.schedule.steps = 2;  // a run that becomes longer has nothing to ask
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  void make_tokenizer(const std::string& name, std::uint64_t seed) const {
    write_text_file_atomically(path(name + ".txt"), words(200, seed));
    const Outcome outcome =
        run_gda({"tokenizer", "train", "--input", path(name + ".txt"), "--format", "text-line",
                 "--vocab-size", "290", "--threads", "1", "--output", path(name)});
    ASSERT_EQ(outcome.code, 0) << outcome.text;
  }
  void tokenize(const std::string& name, std::uint64_t seed, const std::string& tokenizer) const {
    write_text_file_atomically(path("corpus.txt"), words(100, seed));
    const Outcome outcome =
        run_gda({"tokenize", "--input", path("corpus.txt"), "--format", "text-line", "--tokenizer",
                 path(tokenizer + ".model"), "--threads", "1", "--output", path(name), "--force"});
    ASSERT_EQ(outcome.code, 0) << outcome.text;
  }

  Outcome train(const std::vector<std::string>& more = {}, int ranks = 0) const {
    write_text_file_atomically(path("config.yaml"), config_.yaml());
    std::vector<std::string> arguments{"train", path("config.yaml")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_gda(arguments, ranks);
  }

  static void expect(const Outcome& outcome, int code, const std::string& part) {
    EXPECT_EQ(outcome.code, code) << outcome.text;
    EXPECT_TRUE(outcome.says(part)) << "expected: " << part << "\nfound: " << outcome.text;
  }

  const TemporaryFolder folder_;
  RunConfig config_;
};

TEST_F(DataIdentityTest, DataMadeAnewUnderARun) {
  ASSERT_EQ(train().code, 0);
  expect(run_gda({"resume", path("run"), "train.steps=4"}), 0, "data: unchanged since ");
  tokenize("en", 99, "tok");
  for (const int ranks : {0, 2}) {
    const Outcome refused = run_gda({"resume", path("run"), "train.steps=6"}, ranks);
    expect(refused, 2, "the data has changed since " + path("run"));
    expect(refused, 2, "source en (" + path("en") + "): ");
    expect(refused, 2, "--accept-changed-data");
  }
  expect(run_gda({"resume", path("run"), "train.steps=6", "--accept-changed-data"}, 2), 0,
         "accepted: source en");
  EXPECT_EQ(run_gda({"resume", path("run"), "train.steps=8"}).code, 0);
}

TEST_F(DataIdentityTest, ATokenizerThatDidNotMakeTheData) {
  make_tokenizer("other", 7);
  const std::string tokenizer = "data.tokenizer=" + path("other.model");
  for (const int ranks : {0, 2}) {
    expect(train({tokenizer}, ranks), 2, "data.sources: en: " + path("en") + ".bin was made by ");
  }
  EXPECT_FALSE(fs::exists(path("run")));
  expect(train({tokenizer, "--accept-other-tokenizer"}), 0, "accepted: data.sources: en");
}

TEST_F(DataIdentityTest, ATokenizerThatTheModelDoesNotKnow) {
  ASSERT_EQ(train().code, 0);
  make_tokenizer("other", 7);
  tokenize("foreign", 1, "other");
  const std::string message = "but the model has learnt the ids of ";
  const std::string tokenizer = path("other.model");
  write_text_file_atomically(path("lines.txt"), "ba defi\n");
  const std::vector<std::vector<std::string>> commands{
      {"generate", path("run"), "--prompt", "ba", "--max-tokens", "2", "--tokenizer", tokenizer},
      {"score", path("run"), "--text", path("lines.txt"), "--tokenizer", tokenizer}};
  for (std::vector<std::string> command : commands) {
    expect(run_gda(command), 2, "--tokenizer " + tokenizer + " is tokenizer ");
    expect(run_gda(command), 2, message);
    command.emplace_back("--accept-other-tokenizer");
    expect(run_gda(command), 0, "accepted: --tokenizer ");
    command.back() = "--precision=fp64";
    *(command.end() - 2) = path("tok.model");
    EXPECT_EQ(run_gda(command).code, 0);
  }
  std::vector<std::string> eval{"eval", "ppl", path("run"), "--data", path("foreign")};
  expect(run_gda(eval), 2,
         "--data " + path("foreign") + ": " + path("foreign") + ".bin was made by tokenizer ");
  eval.emplace_back("--accept-other-tokenizer");
  EXPECT_EQ(run_gda(eval).code, 0);
  EXPECT_EQ(run_gda({"eval", "ppl", path("run")}).code, 0);
  {
    TokenDatasetWriter writer(path("wide"), 400);
    writer.append(std::vector<std::int32_t>{5, 290});
    writer.finish();
  }
  eval[4] = path("wide");
  expect(run_gda(eval), 2, "but the model's vocab_size is 290");
}

// The same path, another tokenizer.
TEST_F(DataIdentityTest, TheTokenizerOfARunMadeAnew) {
  ASSERT_EQ(train().code, 0);
  fs::remove(path("tok.model"));
  make_tokenizer("other", 7);
  fs::rename(path("other.model"), path("tok.model"));
  expect(run_gda({"generate", path("run"), "--prompt", "ba"}), 2,
         "the run's data.tokenizer " + path("tok.model") + " is tokenizer ");
  expect(run_gda({"resume", path("run"), "train.steps=4"}), 2, ".bin was made by ");
}

TEST_F(DataIdentityTest, AVocabularyLargerThanTheModels) {
  config_.model.vocab_size = 280;
  const Outcome outcome = train();
  expect(outcome, 2, "data.tokenizer " + path("tok.model") + " has 290 ids, but the model's ");
  expect(outcome, 2, "data.sources: en: " + path("en"));
  EXPECT_FALSE(fs::exists(path("run")));
}

TEST_F(DataIdentityTest, ForeignDataIsReadOnceByAllRanks) {
  fs::remove(path("en.gda.json"));
  expect(train({}, 2), 0, path("en") + ".bin is read once, to know what it holds");
  const Outcome resumed = run_gda({"resume", path("run"), "train.steps=4"}, 2);
  EXPECT_EQ(resumed.code, 0) << resumed.text;
  EXPECT_FALSE(resumed.says("is read once")) << resumed.text;
}

}  // namespace
}  // namespace gda::test
