// gda generate, gda eval ppl and gda score on two tiny runs: "plain" of 19 tokens and no tokenizer,
// and "text", whose vocabulary is a tokenizer's.
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "checkpoint/scratch.h"
#include "cli/program.h"
#include "gda/data/tokenizer_training.h"
#include "gda/train/trainer.h"
#include "support/tiny_run.h"
#include "support/train.h"

namespace gda::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kTextVocabulary = 400;

void train(const RunConfig& config) {
  const auto world = make_self_communicator();
  Trainer trainer(config, *world);
  test::train(trainer);
}

void train_text_tokenizer(const fs::path& folder) {
  write_text_file_atomically(folder / "corpus/en.txt",
                             "The quick brown fox jumps over the lazy dog while 1234 other dogs  "
                             "watch it jump.\nNobody watches the dogs that watch the fox, and the "
                             "fox watches nobody.\n남자가 피아노를 연주하고 있다.\n");
  TokenizerTrainingOptions options;
  options.files = find_corpus_files({(folder / "corpus").string()}, "auto");
  options.vocab_size = kTextVocabulary;
  options.character_coverage = 1;
  options.threads = 1;
  train_tokenizer(options, folder / "t.model");
}

class ModelCommands : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch = std::make_unique<Scratch>();
    fs::create_directories(*scratch / "data");
    fs::create_directories(*scratch / "corpus");
    write_tiny_data(*scratch / "data");
  }
  static void TearDownTestSuite() { scratch.reset(); }

  // The runs' folders; each is trained when a test first asks, as every test is its own process.
  static std::string plain() {
    if (!fs::exists(path("plain"))) {
      RunConfig config = tiny_run(*scratch / "data", path("plain"));
      config.train.steps = 2;
      config.eval.every_steps = 2;
      config.eval.steps = 1;
      train(config);
    }
    return path("plain");
  }
  static std::string text() {
    if (!fs::exists(path("text"))) {
      train_text_tokenizer(scratch->path());
      RunConfig config = tiny_run(*scratch / "data", path("text"));
      config.model.vocab_size = kTextVocabulary;
      config.train.steps = 2;
      config.data.tokenizer = path("t.model");
      train(config);
    }
    return path("text");
  }
  static ProgramResult gda(const std::string& arguments) {
    return run_program(scratch->path(), arguments);
  }
  static std::string path(const std::string& name) { return (*scratch / name).string(); }
  static std::string write(const std::string& name, const std::string& text) {
    write_text_file_atomically(*scratch / name, text);
    return path(name);
  }
  // A Hugging Face folder: the model of the plain run and nothing else.
  static std::string hugging_face_folder() {
    const fs::path from = fs::path(plain()) / "checkpoints/step-00000002";
    const fs::path to = *scratch / "exported";
    fs::create_directories(to);
    for (const char* file : {"config.json", "model.safetensors"}) {
      fs::copy_file(from / file, to / file, fs::copy_options::overwrite_existing);
    }
    return to.string();
  }
  // Expects exit code 2 and an error with these words.
  static void expect_usage_error(const std::string& arguments, const std::string& words) {
    const ProgramResult result = gda(arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_NE(result.err.find(words), std::string::npos) << arguments << "\n" << result.err;
    EXPECT_EQ(result.out, "") << arguments;
  }

  static std::unique_ptr<Scratch> scratch;
};
std::unique_ptr<Scratch> ModelCommands::scratch;

json parse_line(const ProgramResult& result) {
  EXPECT_EQ(result.code, 0) << result.err;
  return json::parse(result.out);
}

TEST_F(ModelCommands, EvaluatesAsTheTrainerDoes) {
  std::map<std::string, json> told;
  std::ifstream metrics(plain() + "/metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    const json record = json::parse(line);
    if (record.contains("eval")) told[record["eval"]["name"]] = record["eval"];
  }
  ASSERT_EQ(told.size(), 2U);
  // The trainer looked at eval.steps * train.global_batch_size rows of each source.
  const json report = parse_line(gda("eval ppl " + plain() + " --max-samples 12 --json"));
  ASSERT_EQ(report["results"].size(), 2U);
  for (const json& row : report["results"]) {
    const json& expected = told.at(row["set"]);
    // The same kernels on the same rows in the same order: only printing may round.
    EXPECT_NEAR(row["loss"].get<double>(), expected["loss"].get<double>(), 1e-7);
    EXPECT_EQ(row["tokens"], expected["tokens"]);
    EXPECT_DOUBLE_EQ(row["perplexity"].get<double>(), std::exp(row["loss"].get<double>()));
  }
}

TEST_F(ModelCommands, PrintsATableOfEvaluations) {
  const ProgramResult result = gda("eval ppl " + plain());
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out.rfind("set ", 0), 0U) << result.out;
  for (const char* part : {"tokens", "loss", "perplexity", "\none ", "\ntwo "}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part << result.out;
  }
}

TEST_F(ModelCommands, AModelFolderGivesTheCheckpointsNumbers) {
  const std::string tail =
      " --data " + path("data/one") + " --sequence-length 16 --max-samples 9 --json";
  const json exported = parse_line(gda("eval ppl " + hugging_face_folder() + "/" + tail));
  const json run = parse_line(gda("eval ppl " + plain() + tail));
  EXPECT_EQ(exported["results"][0]["tokens"], run["results"][0]["tokens"]);
  // Rows of the run are of 16 tokens in micro-batches of 1, as without a run.
  EXPECT_EQ(exported["results"][0]["loss"], run["results"][0]["loss"]);
}

TEST_F(ModelCommands, ScoresAddUpToTheLoss) {
  TokenDatasetWriter writer(path("single"), 19);
  const std::vector<std::int32_t> document{3, 4, 5, 6, 11, 12, 0, 18, 18};
  writer.append(document);
  writer.end_document();
  writer.finish();
  const std::string tokens = write("tokens.jsonl", "[3,4,5,6,11,12,0,18,18]\n[7]\n[]\n");
  const ProgramResult scored = gda("score " + plain() + " --precision fp64 --tokens " + tokens);
  ASSERT_EQ(scored.code, 0) << scored.err;
  std::istringstream lines(scored.out);
  std::string line;
  std::getline(lines, line);
  const json first = json::parse(line);
  EXPECT_EQ(first["tokens"].get<std::vector<std::int32_t>>(), document);
  ASSERT_EQ(first["log_probs"].size(), document.size() - 1);
  double sum = 0;
  for (const json& value : first["log_probs"]) sum += value.get<double>();
  EXPECT_DOUBLE_EQ(first["sum"].get<double>(), sum);
  std::getline(lines, line);
  EXPECT_EQ(line, R"({"tokens":[7],"log_probs":[],"sum":0.0})");
  std::getline(lines, line);
  EXPECT_EQ(line, R"({"tokens":[],"log_probs":[],"sum":0.0})");
  const json loss =
      parse_line(gda("eval ppl " + plain() + " --precision fp64 --json --data " + path("single")));
  // A mean of 8 numbers of size 1 to 10 in f64: 8 roundings of 1e-16 times 10.
  EXPECT_NEAR(loss["results"][0]["loss"].get<double>(), -sum / 8, 1e-14);
}

TEST_F(ModelCommands, ScoresTexts) {
  const std::string model = text();
  const std::string lines = write("lines.txt", "The fox\nwatches\n");
  const ProgramResult named = gda("score " + model + " --text " + lines);
  EXPECT_EQ(named.code, 0) << named.err;
  EXPECT_EQ(std::count(named.out.begin(), named.out.end(), '\n'), 2);
  const ProgramResult piped =
      gda("score " + model + " --tokenizer " + path("t.model") + " --text - < " + lines);
  EXPECT_EQ(piped.out, named.out);
}

TEST_F(ModelCommands, GeneratesTheSameTextInBothForms) {
  const std::string command = "generate " + text() + " --prompt 'The fox' --max-tokens 12 --seed 5";
  const ProgramResult printed = gda(command);
  EXPECT_EQ(printed.code, 0) << printed.err;
  EXPECT_NE(printed.err.find("tokens/s"), std::string::npos) << printed.err;
  const json line = parse_line(gda(command + " --json"));
  EXPECT_EQ(line["prompt"], "The fox");
  EXPECT_EQ("The fox" + line["text"].get<std::string>() + "\n", printed.out);
  EXPECT_LE(line["tokens"].size(), 12U);
  EXPECT_EQ(line["ended_by"] == "max_tokens", line["tokens"].size() == 12U);
  EXPECT_NE(gda(command + "6").out, printed.out);
}

TEST_F(ModelCommands, PromptsArriveAsTheyAreTyped) {
  const std::vector<std::string> prompts{
      "[INST] x [/INST]", "[1, 2]", "[\"a\", \"b\"]", "[]", "{}", "%%", " a", ""};
  std::string command = "generate " + text() + " --prompt";
  for (const std::string& prompt : prompts) command += " '" + prompt + "'";
  const ProgramResult result = gda(command + " --max-tokens 1 --json");
  EXPECT_EQ(result.code, 0) << result.err;
  std::istringstream lines(result.out);
  std::vector<std::string> seen;
  json last;
  for (std::string line; std::getline(lines, line);) {
    last = json::parse(line);
    seen.push_back(last["prompt"]);
  }
  EXPECT_EQ(seen, prompts);
  // An empty one begins where a document ends.
  EXPECT_EQ(last["prompt_tokens"].size(), 1U);
  EXPECT_EQ(
      parse_line(gda("generate " + text() + " --prompt '[]' --max-tokens 1 --json"))["prompt"],
      "[]");
  // What begins with a dash, and an empty value behind an equals sign.
  for (const auto& [typed, prompt] : std::map<std::string, std::string>{
           {"--prompt '--- a'", "--- a"}, {"--prompt -5", "-5"}, {"--prompt=", ""}}) {
    const json line =
        parse_line(gda("generate " + text() + " " + typed + " --max-tokens 1 --json"));
    EXPECT_EQ(line["prompt"], prompt);
  }
}

TEST_F(ModelCommands, NeedsNoOptimizer) {
  const std::string tail = " --prompt 'The fox' --max-tokens 3 --temperature 0";
  const std::string expected = gda("generate " + text() + tail).out;
  const fs::path checkpoint = *scratch / "step-00000002";
  fs::copy(fs::path(text()) / "checkpoints/step-00000002", checkpoint);
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    if (entry.path().filename().string().starts_with("optimizer")) fs::resize_file(entry, 9);
  }
  EXPECT_EQ(gda("generate " + checkpoint.string() + tail).out, expected);
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    if (entry.path().filename().string().starts_with("optimizer")) fs::remove(entry);
  }
  EXPECT_EQ(gda("generate " + checkpoint.string() + tail).out, expected);
  EXPECT_EQ(gda("grow depth --every 1 --from " + checkpoint.string() + " --to " + path("g")).code,
            1);
}

TEST_F(ModelCommands, GrowsAModelFolder) {
  const std::string folder = hugging_face_folder();
  const std::string grown = path("grown folder");
  const ProgramResult result =
      gda("grow depth --every 1 --from " + folder + " --to '" + grown + "' --device cpu");
  ASSERT_EQ(result.code, 0) << result.err;
  const std::string checkpoint = grown + "/checkpoints/step-00000000";
  EXPECT_NE(result.out.find("next            gda train RUN.yaml 'train.init_from=" + checkpoint +
                            "', with the model of '" + grown + "/model.yaml'"),
            std::string::npos)
      << result.out;
  EXPECT_NE(read_text_file(grown + "/model.yaml").find("model:\n  hidden_size: "),
            std::string::npos);
  EXPECT_FALSE(fs::exists(grown + "/config.yaml"));
  const std::string tail = " --precision fp64 --data " + path("data/one") +
                           " --sequence-length 16 --max-samples 9 --json";
  const json before = parse_line(gda("eval ppl " + folder + tail));
  const json after = parse_line(gda("eval ppl '" + checkpoint + "'" + tail));
  // New layers add nothing; the sums of f64 are of numbers near 3.
  EXPECT_NEAR(before["results"][0]["loss"].get<double>(), after["results"][0]["loss"].get<double>(),
              1e-12);
  const ProgramResult nothing = gda("grow depth --every 1 --from " + path("data") + " --to x");
  EXPECT_NE(nothing.err.find("and not a Hugging Face model folder (no config.json)"),
            std::string::npos)
      << nothing.err;
  expect_usage_error("grow masked --hidden-size 16 --from " + folder + " --to " + path("m"),
                     "masks rise during a run, and a model folder has none");
}

TEST_F(ModelCommands, GeneratesUntilThePositionsEnd) {
  // At temperature 0 a model of two steps' training repeats itself.
  const json line = parse_line(
      gda("generate " + text() + " --prompt 'The fox' --temperature 0 --max-tokens 90 --json"));
  if (line["ended_by"] != "end_of_document") {
    EXPECT_EQ(line["ended_by"], "positions");
    EXPECT_EQ(line["prompt_tokens"].size() + line["tokens"].size(), 33U);
  }
}

TEST_F(ModelCommands, TellsWhatIsNoModel) {
  for (const std::string command : {"generate ", "score ", "eval ppl "}) {
    const std::string tail = command == "generate " ? " --prompt x"
                             : command == "score "  ? " --tokens /dev/null"
                                                    : "";
    expect_usage_error(command + path("nothing") + tail, "nothing: no such folder; expected a ");
    expect_usage_error(command + path("data") + tail,
                       "data is not a checkpoint (no manifest.json), not a run folder (no "
                       "checkpoints/step-... inside) and not a Hugging Face model folder (no "
                       "config.json)");
    EXPECT_EQ(gda(command + plain() + tail + " --precision fp8").code, 2);
    const ProgramResult help = gda(command + "--help");
    EXPECT_EQ(help.code, 0);
    EXPECT_NE(help.out.find("Example: "), std::string::npos) << help.out;
  }
}

TEST_F(ModelCommands, TellsOfDamage) {
  const fs::path damaged = *scratch / "step-00000007";
  fs::copy(fs::path(plain()) / "checkpoints/step-00000002", damaged);
  fs::resize_file(damaged / "model.safetensors", 100);
  const ProgramResult result = gda("eval ppl " + damaged.string() + "/");
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.err.find("is damaged: model.safetensors has 100 bytes"), std::string::npos)
      << result.err;
  fs::remove(damaged / "manifest.json");
  EXPECT_EQ(gda("eval ppl " + damaged.string()).code, 1);
}

TEST_F(ModelCommands, TellsOfAMissingTokenizer) {
  expect_usage_error("generate " + plain() + " --prompt x",
                     "names no tokenizer (no data.tokenizer in a config.yaml, no "
                     "tokenizer.model): give --tokenizer MODEL");
  expect_usage_error("generate " + plain() + " --prompt x --tokenizer /no/t.model",
                     "--tokenizer /no/t.model: no such file");
  expect_usage_error("score " + hugging_face_folder() + " --text /dev/null",
                     "give --tokenizer MODEL");
}

TEST_F(ModelCommands, TellsOfPromptsThatDoNotFit) {
  const std::string model = text();
  const std::string prompt = " --prompt '" + std::string(200, '7') + "'";
  const std::string other = "generate " + plain() + prompt + " --tokenizer " + path("t.model");
  expect_usage_error(other, "400 ids), but the model's vocab_size is 19");
  expect_usage_error(other + " --accept-other-tokenizer",
                     "the tokenizer does not fit the model: token id ");
  const ProgramResult longer = gda("generate " + model + prompt + " --json");
  EXPECT_EQ(longer.code, 2);
  EXPECT_NE(longer.err.find("tokens; the model has 32 positions"), std::string::npos) << longer.err;
  for (const char* flag : {"--temperature -1", "--top-p 2", "--top-k -1", "--max-tokens 0"}) {
    EXPECT_EQ(gda("generate " + model + " --prompt x " + flag).code, 2) << flag;
  }
}

TEST_F(ModelCommands, TellsOfBadTokens) {
  const std::string command = "score " + plain();
  expect_usage_error(command, "score: give either --text FILE or --tokens FILE");
  expect_usage_error(command + " --tokens " + path("no.jsonl"), "no.jsonl: cannot open the file");
  const auto expect_line = [&](const std::string& line, const std::string& words) {
    expect_usage_error(command + " --tokens " + write("bad.jsonl", line + "\n"), words);
  };
  expect_line("{1}", "bad.jsonl:1: expected a JSON list of token ids, found: {1}");
  expect_line("[1, \"a\"]", "bad.jsonl:1: expected a token id, found: \"a\"");
  expect_line("[1, 4294967296]", "bad.jsonl:1: expected a token id, found: 4294967296");
  expect_line("[1, 19]", "bad.jsonl:1: token id 19 is not in [0, 19), the model's vocabulary");
  expect_line("[-1]", "bad.jsonl:1: token id -1 is not in [0, 19)");
  expect_line(json(std::vector<int>(34, 1)).dump(),
              "bad.jsonl:1: 34 tokens; the model has 32 positions and can score 33");
}

TEST_F(ModelCommands, TellsOfBadEvaluations) {
  expect_usage_error("eval ppl " + hugging_face_folder(),
                     "belongs to no run whose validation tokens could be used: give --data PREFIX");
  expect_usage_error("eval ppl " + plain() + " --sequence-length 33",
                     "--sequence-length 33: the model has 32 positions");
  const ProgramResult missing = gda("eval ppl " + plain() + " --data " + path("absent"));
  EXPECT_EQ(missing.code, 1);
  EXPECT_NE(missing.err.find("absent"), std::string::npos) << missing.err;
}

}  // namespace
}  // namespace gda::test
