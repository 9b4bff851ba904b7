// Text that a run writes on its way.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>

#include "gda/core/file.h"
#include "gda/core/log.h"
#include "gda/data/tokenizer_training.h"
#include "gda/eval/generate.h"
#include "gda/train/trainer.h"
#include "support/late_communicator.h"
#include "support/shared_folder.h"
#include "support/tiny_run.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kVocabulary = 300;

// Words of random syllables, enough for a vocabulary.
std::string made_up_text() {
  const Philox random(1, RandomPurpose::test, "made-up text");
  const std::string consonants = "bdfgklmnprst";
  const std::string vowels = "aeiou";
  std::string text;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    text += consonants[random.bits(3 * i) % consonants.size()];
    text += vowels[random.bits(3 * i + 1) % vowels.size()];
    const std::uint64_t end = random.bits(3 * i + 2) % 12;
    if (end < 4) text += end == 0 ? "\n" : " ";
  }
  return text;
}

void train_made_up_tokenizer(const fs::path& folder) {
  make_directories(folder / "text");
  write_text_file_atomically(folder / "text" / "a.txt", made_up_text());
  TokenizerTrainingOptions options;
  options.files = find_corpus_files({(folder / "text").string()}, "auto");
  options.vocab_size = kVocabulary;
  options.threads = 1;
  train_tokenizer(options, folder / "t.model");
}

// What the model of a checkpoint writes.
std::string continuation(const fs::path& checkpoint, const Tokenizer& tokenizer,
                         const TextSampleConfig& sample, const std::string& prompt) {
  const CheckpointReader reader(checkpoint);
  ParameterStore parameters(parameter_specs(reader.config()), DType::f64, 1, false);
  for (const Parameter& parameter : parameters.all()) {
    reader.read_parameter(parameter.spec.name, parameter.value);
  }
  Decoder decoder(reader.config(), parameters);
  Arena arena;
  const auto seed = static_cast<std::uint64_t>(reader.step());
  const GenerateOptions options{.sampling = {.temperature = sample.temperature, .seed = seed},
                                .max_tokens = sample.max_tokens,
                                .stop_token = tokenizer.eod_id()};
  return tokenizer.decode(generate({Stream{}, arena}, decoder, tokenizer.encode(prompt), options));
}

// Of steps 2 and 4, in the log.
void expect_text_of_the_checkpoints(RunConfig& config, Communicator& world,
                                    const test::SharedFolder& folder) {
  if (test::world().rank() == 0) {
    test::write_tiny_data(folder.path());
    train_made_up_tokenizer(folder.path());
  }
  test::world().barrier();
  config.device = WantedDevice::cpu;
  config.precision.compute = ComputePrecision::fp64;
  config.model.vocab_size = kVocabulary;
  config.data.tokenizer = (folder.path() / "t.model").string();
  config.train.steps = 4;
  config.train.sample = {
      .every_steps = 2, .prompts = {"ba ne", "tiko"}, .max_tokens = 12, .temperature = 0.9};
  config.checkpoint.every_steps = 2;
  config.checkpoint.keep_last = 10;
  config.logging.every_steps = 100;
  ::testing::internal::CaptureStderr();
  {
    Trainer trainer(config, world);
    test::train(trainer);
  }
  log::flush();
  const std::string told = ::testing::internal::GetCapturedStderr();
  test::world().barrier();
  if (test::world().rank() != 0) return;
  const auto tokenizer = open_tokenizer(config.data.tokenizer);
  for (const std::int64_t step : {2, 4}) {
    for (const std::string& prompt : config.train.sample.prompts) {
      const std::string line =
          "sample at step " + std::to_string(step) + ": " + prompt +
          continuation(fs::path(config.run_dir) / "checkpoints" / step_folder_name({step}),
                       *tokenizer, config.train.sample, prompt);
      EXPECT_NE(told.find(line), std::string::npos) << line << "\nin\n" << told;
    }
  }
}

// By one rank, of the parameters of all, which arrive late here.
TEST(SampleTextTest, IsThatOfTheCheckpointOfTheStep) {
  const test::SharedFolder folder;
  RunConfig config = test::tiny_run(folder.path(), folder.path() / "run");
  test::LateCommunicator late(test::world());
  expect_text_of_the_checkpoints(config, late, folder);
}

// By all ranks together, which have parts of the model.
TEST(SampleTextTest, IsThatOfTheCheckpointInEveryLayout) {
  const test::SharedFolder folder;
  const int ranks = test::world().size();
  const auto check = [&](const std::string& name, const std::function<void(RunConfig&)>& cut) {
    SCOPED_TRACE(name);
    RunConfig config = test::tiny_run(folder.path(), folder.path() / name);
    config.model.num_hidden_layers = 4;
    cut(config);
    expect_text_of_the_checkpoints(config, test::world(), folder);
    test::world().barrier();
  };
  if (ranks == 1) GTEST_SKIP() << "one rank has all of the model";
  check("zero 3", [](RunConfig& config) { config.parallel.zero_stage = 3; });
  check("pipeline", [&](RunConfig& config) { config.parallel.pipeline = ranks; });
  if (ranks % 2 != 0) return;
  check("context", [](RunConfig& config) { config.parallel.context = 2; });
  check("tensor", [&](RunConfig& config) {
    config.parallel.tensor = 2;
    config.parallel.pipeline = ranks / 2;
  });
}

}  // namespace
}  // namespace gda
