// What the command line takes, and what it says of what it does not.
#include <gtest/gtest.h>

#include "checkpoint/scratch.h"
#include "cli/program.h"

namespace gda::test {
namespace {

class Usage : public ::testing::Test {
 protected:
  ProgramResult gda(const std::string& arguments) const {
    return run_program(scratch_.path(), arguments);
  }
  void expect_error(const std::string& arguments, const std::string& words) const {
    const ProgramResult result = gda(arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_NE(result.err.find(words), std::string::npos) << arguments << "\n" << result.err;
    EXPECT_EQ(result.out, "") << arguments;
    EXPECT_LT(result.err.size(), 500U) << result.err;
  }
  std::string path(const std::string& name) const { return (scratch_ / name).string(); }
  std::string write(const std::string& name, const std::string& text) const {
    write_text_file_atomically(scratch_ / name, text);
    return path(name);
  }
  // Enough of a run for gda config.
  std::string config() const {
    return write(
        "run.yaml",
        "model: {hidden_size: 32, num_hidden_layers: 2, intermediate_size: 64, vocab_size: "
        "300, max_position_embeddings: 64, attention: {type: softmax, head_dim: 8, "
        "num_attention_heads: 4, num_key_value_heads: 4}}\n"
        "data: {sources: [{name: en, path: data/en, weight: 1}], sequence_length: 32}\n"
        "train: {steps: 6, global_batch_size: 4, micro_batch_size: 2}\n"
        "schedule: {warmup_steps: 0}\n"
        "run_dir: run\n");
  }

  Scratch scratch_;
};

TEST_F(Usage, NamesTheUnknownWordAndTheNearest) {
  expect_error("trian x.yaml --foo", "unknown command \"trian\"; did you mean \"train\"?");
  expect_error("grow wdth --from a", "gda grow: unknown command \"wdth\"; did you mean \"width\"?");
  expect_error("eval pp x", "gda eval: unknown command \"pp\"; did you mean \"ppl\"?");
  expect_error("frobnicate", "unknown command \"frobnicate\"; known here: train, resume, grow, ");
  expect_error("", "a command is missing; known here: train, ");
  expect_error("tokenizer", "gda tokenizer: a command is missing; known here: train");
  expect_error("generate x --promt y", "unknown option --promt; did you mean \"--prompt\"?");
  expect_error("train x --devise=cpu", "unknown option --devise; did you mean \"--device\"?");
  expect_error("train x --train.steps=3",
               "unknown option --train.steps; settings are given without dashes: train.steps=3");
  expect_error("inspect a b", "gda inspect: \"b\" is one argument too many");
  expect_error("generate", "MODEL is required");
}

TEST_F(Usage, SaysRangesWordsAndTypesInReadableForm) {
  const std::string generate = "generate x --prompt y ";
  expect_error(generate + "--top-p 2", "--top-p: must be at most 1, got 2");
  expect_error(generate + "--top-p -0.5", "--top-p: must be at least 0, got -0.5");
  expect_error(generate + "--max-tokens 0", "--max-tokens: must be at least 1, got 0");
  expect_error(generate + "--seed abc",
               "--seed: expected a whole number of at least 0, got \"abc\"");
  expect_error(generate + "--temperature warm", "--temperature: expected a number, got \"warm\"");
  expect_error(generate + "--temperature nan", "--temperature: must be a number, got \"nan\"");
  expect_error(generate + "--top-p=inf", "--top-p: must be a number, got \"inf\"");
  expect_error(generate + "--precision fp23",
               "must be one of fp32, bf16, fp64, got \"fp23\"; did you mean \"fp32\"?");
  expect_error("tokenize --input a --tokenizer b --output c --format json",
               "must be one of auto, text-file, text-line, jsonl, got \"json\"; did you mean ");
  expect_error("train x --device cud", "did you mean \"cuda\"?");
}

TEST_F(Usage, OverridesTakeIndexesInBrackets) {
  const ProgramResult result =
      gda("config " + config() +
          " 'data.sources[0].path=a b' data.sources.0.name=ko train.steps=7 "
          "'train.trainable=[\"*.mlp.*\", lm_head.weight]'");
  EXPECT_EQ(result.code, 0) << result.err;
  for (const char* words : {"path: \"a b\"", "name: ko", "steps: 7", "\"*.mlp.*\""}) {
    EXPECT_NE(result.out.find(words), std::string::npos) << words << result.out;
  }
  expect_error("config " + config() + " 'data.sources[3].path=x'",
               "data.sources: expected the index of one of 1 element, counted from 0");
  expect_error("config " + config() + " trian.steps=3",
               "trian: unknown key; did you mean \"train\"?");
  expect_error("config " + config() + " 'train.trainable=[*.mlp.*]'",
               "a word that begins with * or & has to be in quotes");
}

TEST_F(Usage, PrintsTheLayoutOnRanks) {
  const ProgramResult result = gda("config " + config() +
                                   " parallel.pipeline=2 train.micro_batch_size=1 --ranks 4 "
                                   "--schedule");
  EXPECT_EQ(result.code, 0) << result.err;
  for (const char* words :
       {"4 = pipeline 2 x data 2 x context 1 x tensor 1\n", "1f1b, bubble 50.0 %\n",
        "\nrank 0   f0 f1 .  .  b0--- .  b1---\nrank 1   .  f0 b0--- f1 b1--- .  .\n"}) {
    EXPECT_NE(result.out.find(words), std::string::npos) << words << result.out;
  }
  expect_error("config " + config() + " --schedule", "give --ranks, too");
  expect_error("config " + config() + " parallel.tensor=4 --ranks 6",
               "6 processes cannot be cut into models of 4 ranks");
}

TEST_F(Usage, ReplacesHomeAndVariablesInPaths) {
  const auto run = [&](const std::string& arguments) {
    return run_program(scratch_.path(), "config " + arguments);
  };
  ::setenv("HOME", scratch_.path().c_str(), 1);
  ::setenv("GDA_TEST_X", "run", 1);
  config();
  const ProgramResult result =
      run("'~/${GDA_TEST_X}.yaml' 'run_dir=~/runs' 'data.tokenizer=$GDA_TEST_X/t.model'");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("dir: " + path("runs")), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("tokenizer: run/t.model"), std::string::npos) << result.out;
  // A file of that very name is taken as it is.
  const std::string odd = write("$GDA_TEST_X.yaml", read_text_file(config()));
  EXPECT_EQ(run("'" + odd + "'").code, 0);
  expect_error("config '${GDA_TEST_NONE}/a.yaml'", "variable GDA_TEST_NONE is not set");
  expect_error("tokenizer train --input '~you/a' --output o", "~ stands for the home folder");
}

TEST_F(Usage, ReadsConfigurationsFromPipes) {
  const std::string file = config();
  const std::string expected = gda("config " + file).out;
  EXPECT_NE(expected, "");
  EXPECT_EQ(gda("config - < " + file).out, expected);
  EXPECT_EQ(run_program(scratch_.path(), "config /dev/stdin < " + file).out, expected);
  // A run needs it more than once, and gets as far as the data, which is not there.
  const std::string program = GDA_PROGRAM;
  const ProgramResult piped = gda("config " + file + " > /dev/null; cat " + file + " | " + program +
                                  " train - run_dir=" + path("run"));
  EXPECT_EQ(piped.err.find("missing"), std::string::npos) << piped.err;
  EXPECT_NE(piped.err.find("data/en"), std::string::npos) << piped.err;
  expect_error("config - < /dev/null",
               "configuration: standard input is empty; a pipe can be read");
}

TEST_F(Usage, SummariesListWhatWasReadAndLeftOut) {
  std::filesystem::create_directories(scratch_ / "in");
  std::string lines;
  for (int i = 0; i < 200; ++i) {
    lines += "{\"text\": \"some words of line " + std::to_string(i) + "\", \"x\": NaN}\n";
  }
  write("in/a.json", lines + "{bad}\n");
  write("in/b.zst", "\x28\xB5\x2F\xFD");
  const std::string train = "tokenizer train --vocab-size 290 --threads 1 --output " + path("t") +
                            " --skip-bad-lines --input " + path("in");
  const ProgramResult trained = gda(train);
  EXPECT_EQ(trained.code, 0) << trained.err;
  const std::string tokenize = "tokenize --threads 1 --tokenizer " + path("t.model") +
                               " --output " + path("out") + " --force --skip-bad-lines --input ";
  const ProgramResult tokenized = gda(tokenize + path("in"));
  for (const std::string& out : {trained.out, tokenized.out}) {
    for (const std::string& words :
         {"read 1 file:\n  " + path("in/a.json") + " (jsonl)\n",
          "left out 1 path:\n  " + path("in/b.zst") + ": compressed with Zstandard",
          "1 bad line skipped, first:\n  " + path("in/a.json") + ":201: not valid JSON",
          std::string("200 documents")}) {
      EXPECT_NE(out.find(words), std::string::npos) << words << "\n" << out;
    }
  }
  const ProgramResult summary = gda(tokenize + "- --json < " + path("in/a.json"));
  EXPECT_NE(summary.out.find(R"("read":[{"path":"standard input","format":"stream"}])"),
            std::string::npos)
      << summary.out << summary.err;
  EXPECT_NE(
      summary.out.find("\"skipped_lines\":1,\"skipped\":[\"standard input:201: not valid JSON"),
      std::string::npos)
      << summary.out;
  const std::string one = write("one.txt", "a text\nof two lines\n");
  EXPECT_NE(gda(tokenize + one).out.find("one document: a run validates on its last tokens"),
            std::string::npos);
  EXPECT_EQ(tokenized.out.find("one document"), std::string::npos);
  const ProgramResult refused = gda(tokenize + path("in/b.zst"));
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.err.find(path("in/b.zst") + ": compressed with Zstandard; unpack it: zstd -dc"),
            std::string::npos)
      << refused.err;
}

}  // namespace
}  // namespace gda::test
