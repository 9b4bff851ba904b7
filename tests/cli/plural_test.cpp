// Whatever the program prints of a job of which there is one of everything: nothing is "1 ranks".
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <regex>

#include "cli/run_folder.h"

namespace gda::test {
namespace {

// Words that end in s and are no plural.
bool is_singular(const std::string& word) {
  for (const char* known : {"process", "loss", "bias", "is", "was", "has", "as"}) {
    if (word == known) return true;
  }
  return false;
}

void expect_no_plural_of_one(const Outcome& outcome) {
  const std::regex one("(^|[^0-9.,])1 ((?:[a-z-]+ )?[a-z-]+s)\\b");
  for (std::sregex_iterator found(outcome.text.begin(), outcome.text.end(), one), end; found != end;
       ++found) {
    const std::string words = (*found)[2];
    EXPECT_TRUE(is_singular(words.substr(words.rfind(' ') + 1))) << found->str() << "\n"
                                                                 << outcome.text;
  }
}

// A run of one step of one sequence on one rank and thread, and what can be done with it.
TEST(PluralTest, OneIsNotSeveral) {
  ::setenv("OMP_NUM_THREADS", "1", 1);
  RunFolder folder(1);
  folder.config.model.num_hidden_layers = 1;
  folder.config.model.attention.signal_heads = 1;
  folder.config.model.attention.noise_heads = 1;
  folder.config.model.attention.num_key_value_heads = 2;
  folder.config.schedule.warmup_steps = 0;
  folder.config.train.global_batch_size = 1;
  const std::string text = folder.path("text.txt").string();
  write_text_file_atomically(text, "It was the best of times, it was the worst of times.\n");
  const std::string run = folder.run();
  const std::string grown = folder.path("grown").string();
  const std::string words = folder.path("words").string();
  const std::vector<std::vector<std::string>> done = {
      folder.train(),
      {"resume", run, "train.steps=2", "--skip-steps", "1"},
      {"inspect", run},
      {"inspect", folder.path("one").string()},
      {"eval", "ppl", run, "--max-samples", "1"},
      {"grow", "masked", "--from", run, "--to", grown, "--layers", "2", "--ramp-steps", "1",
       "--verify-tokens", "1"},
      {"resume", grown, "train.steps=4"},
      {"grow", "depth", "--from", grown, "--to", grown + "er", "--every", "1"},
      {"tokenizer", "train", "--input", text, "--vocab-size", "280", "--output", words},
      {"tokenize", "--input", text, "--tokenizer", words + ".model", "--output", words}};
  for (const std::vector<std::string>& arguments : done) {
    const Outcome outcome = run_gda(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.text;
    expect_no_plural_of_one(outcome);
  }
  const std::vector<std::vector<std::string>> refused = {
      {"resume", run, "train.global_batch_size=1", "train.micro_batch_size=2", "train.steps=9"},
      {"resume", run, "data.sources[9].path=x"},
      {"grow", "depth", "--from", run, "--to", grown + "est", "--at", "7"}};
  for (const std::vector<std::string>& arguments : refused) {
    const Outcome outcome = run_gda(arguments);
    EXPECT_NE(outcome.code, 0) << outcome.text;
    expect_no_plural_of_one(outcome);
  }
  ::unsetenv("OMP_NUM_THREADS");
}

}  // namespace
}  // namespace gda::test
