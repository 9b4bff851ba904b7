#include "gda/train/run_config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "gda/core/error.h"
#include "gda/core/file.h"
#include "support/temporary_folder.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

const std::string kMinimal = R"(model:
  hidden_size: 64
  num_hidden_layers: 2
  intermediate_size: 96
  vocab_size: 128
  attention: {signal_heads: 3, noise_heads: 1, num_key_value_heads: 2, head_dim: 16}
data:
  sources: [{name: en, path: data/en}]
  sequence_length: 32
train:
  steps: 10
run_dir: runs/x
)";

// Writes `text` to a file.
fs::path write_config(const std::string& text) {
  const fs::path path = test::process_folder() / "run.yaml";
  write_text_file_atomically(path, text);
  return path;
}

RunConfig load(const std::vector<std::string>& overrides = {}, std::int64_t ranks = 1) {
  return load_run_config(write_config(kMinimal), overrides, ranks);
}

// What loading the minimal configuration with overrides complains about.
std::string error_of(const std::vector<std::string>& overrides, std::int64_t ranks = 1) {
  try {
    load(overrides, ranks);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(RunConfig, AFewLinesAreEnough) {
  const RunConfig config = load();
  EXPECT_NO_THROW(config.validate());
  EXPECT_EQ(config.optimizer, OptimizerConfig{});
  EXPECT_EQ(config.schedule, ScheduleConfig{});
  EXPECT_EQ(config.device, WantedDevice::automatic);
  EXPECT_EQ(config.data.sources[0].weight, Timeline{});
}

TEST(RunConfig, ResolvedYamlReadsBackEqual) {
  const RunConfig config =
      load({"train.batch_ramp=[{step: 0, value: 8}, {step: 4, value: 32}]", "optimizer.lr=1e-5",
            "model.rope.scaling={factor: 4}", "data.tokenizer=tok.model", "logging.peak_tflops=0.4",
            "train.sample={every_steps: 5, prompts: [\"한국어: \", Once]}", "eval.sources=[en]"});
  EXPECT_EQ(load_run_config(write_config(config.yaml()), {}), config);
}

TEST(RunConfig, EveryShippedConfigurationLoadsAndReadsBackEqual) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(GDA_CONFIGS_DIR)) {
    if (entry.path().extension() != ".yaml") continue;
    names.push_back(entry.path().stem());
    const RunConfig config = load_run_config(entry.path(), {});
    EXPECT_NO_THROW(config.validate());
    EXPECT_EQ(load_run_config(write_config(config.yaml()), {}), config) << entry.path();
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"gda-124m", "llama-3-8b", "llama-3-motif-102b",
                                             "motif-2-12.7b", "motif-2.6b", "quickstart"}));
}

TEST(RunConfig, TheQuickstartRunsOnTwoRanks) {
  EXPECT_NO_THROW(load_run_config(fs::path(GDA_CONFIGS_DIR) / "quickstart.yaml", {}, 2));
}

TEST(RunConfig, NamesTheFileTheLineAndTheKey) {
  std::string text = kMinimal;
  text.replace(text.find("noise_heads: 1"), 14, "noise_heads: 2");
  text += "optimiser: {lr: 1}\n";
  const fs::path path = write_config(text);
  const auto message = [&](const std::vector<std::string>& overrides) -> std::string {
    try {
      load_run_config(path, overrides);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "(no error)";
  };
  EXPECT_EQ(message({}),
            path.string() + ":13: optimiser: unknown key; did you mean \"optimizer\"?");
  EXPECT_EQ(error_of({"model.attention.noise_heads=2"}),
            path.string() +
                ":6: model.attention.signal_heads: 3 is not a multiple of noise_heads, which "
                "is 2 (the ratio of signal to noise heads is a whole number)");
}

TEST(RunConfig, AFileThatCannotBeReadIsAUsageError) {
  try {
    load_run_config("/nonexistent/x.yaml", {});
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "configuration: cannot open /nonexistent/x.yaml: No such file or directory");
  }
}

TEST(RunConfig, MissingSectionsAndKeys) {
  const fs::path path = write_config("train: {micro_batch_size: 2}\n");
  try {
    load_run_config(path, {});
    FAIL();
  } catch (const ConfigError& error) {
    const std::string file = path.string();
    EXPECT_EQ(std::string(error.what()),
              file +
                  ": run_dir: missing; it is required (folder of the run: configuration, "
                  "metrics, logs and checkpoints)\n" +
                  file + ": model: missing; it is required (architecture of the model)\n" + file +
                  ": data: missing; it is required (training data)\n" + file +
                  ":1: train.steps: missing; it is required (optimizer steps in total)");
  }
}

TEST(RunConfig, TheFolderMayStillBeCalledByItsFormerName) {
  std::string text = kMinimal;
  const std::string now = "run_dir: runs/x";
  text.replace(text.find(now), now.size(), "logging: {dir: runs/y, every_steps: 3}");
  const fs::path former = write_config(text);
  const RunConfig config = load_run_config(former, {});
  EXPECT_EQ(config.run_dir, "runs/y");
  EXPECT_EQ(config.logging.every_steps, 3);
  EXPECT_EQ(load_run_config(former, {"logging.dir=z"}).run_dir, "z");
  EXPECT_EQ(load_run_config(former, {"run_dir=z"}).run_dir, "z");
  EXPECT_EQ(load({"logging.dir=z"}).run_dir, "z");
  EXPECT_EQ(error_of({"logging.dir=z", "run_dir=z"}),
            "command line: logging.dir: is called run_dir now, and run_dir is given, too; give it "
            "once");
  EXPECT_NE(error_of({"logging.dri=z"}).find("unknown key"), std::string::npos);
}

TEST(RunConfig, GivesOneValue) {
  const RunConfig config =
      load_run_config(write_config(kMinimal), {"train.sample.prompts=[a b, 'c']"});
  EXPECT_EQ(config.value_of("run_dir"), "runs/x");
  EXPECT_EQ(config.value_of("train.steps"), "10");
  EXPECT_EQ(config.value_of("data.sources[0].name"), config.data.sources[0].name);
  EXPECT_EQ(config.value_of("train.sample.prompts"), "a b\nc");
  EXPECT_EQ(config.value_of("logging.peak_tflops"), "null");
  const auto error = [&](std::string_view key) -> std::string {
    try {
      return config.value_of(key);
    } catch (const ConfigError& caught) {
      return caught.what();
    }
  };
  EXPECT_EQ(error("train.step"), "train.step: unknown key; did you mean \"steps\"?");
  EXPECT_EQ(error("data.sources[7].name"),
            "data.sources[7].name: unknown key; the list has 1 elements, counted from 0");
  EXPECT_EQ(error("run_dir.x"), "run_dir.x: unknown key; there is nothing below a value");
  EXPECT_EQ(error("parallel").substr(0, 57),
            "parallel: is a section, which has no value of its own; kn");
}

TEST(RunConfig, RulesBetweenSections) {
  const std::string file = write_config(kMinimal).string();
  EXPECT_EQ(error_of({"data.sequence_length=5000"}),
            "command line: data.sequence_length: 5000 is longer than "
            "model.max_position_embeddings, which is 4096");
  EXPECT_EQ(error_of({"schedule.warmup_steps=11"}),
            "command line: schedule.warmup_steps: 11 are more than train.steps, which is 10");
  EXPECT_EQ(error_of({"data.sources=[]"}),
            "command line: data.sources: empty; give at least one {name: ..., path: ..., weight: "
            "...}");
  EXPECT_EQ(error_of({"data.sources=[{name: a, path: x}, {name: a, path: y}]"}),
            "command line: data.sources: two sources are named \"a\"; names tell them apart in "
            "logs and draws");
  EXPECT_EQ(error_of({"eval.sources=[ko]"}),
            "command line: eval.sources: \"ko\" is not the name of a data source; those are: en");
  EXPECT_EQ(error_of({"data.validation_fraction=0"}),
            "command line: data.validation_fraction: 0 leaves nothing to evaluate; give a share, "
            "or set eval.every_steps to 0");
  EXPECT_EQ(error_of({"data.validation_fraction=0", "eval.every_steps=0"}), "(no error)");
  EXPECT_EQ(error_of({"train.sample.every_steps=5", "train.sample.prompts=[a]"}),
            file +
                ":7: data.tokenizer: empty, but train.sample.every_steps asks for samples of "
                "text; give a tokenizer");
  EXPECT_EQ(error_of({"train.sample.every_steps=5", "data.tokenizer=t.model"}),
            "command line: train.sample.prompts: empty, but every_steps asks for samples; give at "
            "least one prompt");
}

TEST(RunConfig, WhatIsTrainedIsAWordOrPatterns) {
  EXPECT_EQ(error_of({"train.trainable=new"}), "(no error)");
  EXPECT_EQ(error_of({"train.trainable=[\"model.layers.0.*\", lm_head.weight]"}), "(no error)");
  EXPECT_EQ(error_of({"train.trainable=nothing"}),
            "command line: train.trainable: must be all, new or a list of texts, got \"nothing\"");
  EXPECT_EQ(error_of({"train.trainable=[\"model.layers.0.*\", lm_haed.weight]"}),
            "command line: train.trainable: \"lm_haed.weight\" matches no parameter of the model; "
            "the nearest is lm_head.weight");
  // A model that is no model is told of first.
  EXPECT_EQ(error_of({"train.trainable=[x]", "model.attention.noise_heads=0"}).find("matches no"),
            std::string::npos);
  const RunConfig config = load({"train.trainable=[\"model.layers.0.*\", lm_head.weight]"});
  EXPECT_EQ(load_run_config(write_config(config.yaml()), {}), config);
  EXPECT_NE(run_config_schema().find("\"trainable\": {"), std::string::npos);
}

TEST(RunConfig, AllowedWords) {
  EXPECT_EQ(error_of({"precision.compute=fp16"}),
            "command line: precision.compute: must be one of bf16, fp32, fp64, got \"fp16\"");
  EXPECT_EQ(error_of({"device=gpu"}),
            "command line: device: must be one of auto, cpu, cuda, got \"gpu\"; did you mean "
            "\"cpu\"?");
  EXPECT_EQ(error_of({"train.recompute=all"}),
            "command line: train.recompute: must be one of none, selective, full, got \"all\"");
}

TEST(RunConfig, BatchesMustSplitOverRanks) {
  EXPECT_EQ(error_of({"train.global_batch_size=100", "train.micro_batch_size=4"}, 3),
            "command line: train.global_batch_size: 100 sequences cannot be split over 3 "
            "data-parallel ranks in micro-batches of 4: a multiple of 12 is needed, such as 96 or "
            "108");
  EXPECT_EQ(error_of({"train.global_batch_size=96", "train.micro_batch_size=4"}, 3), "(no error)");
  // Without overrides the line is that of the section, which has neither key.
  EXPECT_EQ(error_of({}, 9),
            write_config(kMinimal).string() +
                ":10: train.global_batch_size: 32 sequences cannot be split over 9 data-parallel "
                "ranks in micro-batches of 4: a multiple of 36 is needed, such as 36");
  EXPECT_EQ(
      error_of({"train.micro_batch_size=5"}),
      write_config(kMinimal).string() +
          ":10: train.global_batch_size: 32 sequences cannot be split over 1 data-parallel rank "
          "in micro-batches of 5: a multiple of 5 is needed, such as 30 or 35");
  const RunConfig config = load();
  EXPECT_NO_THROW(config.validate_for_world(8));
  try {
    config.validate_for_world(5);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_STREQ(
        error.what(),
        "train.global_batch_size: 32 sequences cannot be split over 5 data-parallel ranks in "
        "micro-batches of 4: a multiple of 20 is needed, such as 20 or 40");
  }
}

TEST(RunConfig, BatchRampIsAStaircase) {
  const RunConfig config =
      load({"train.batch_ramp=[{step: 0, value: 8}, {step: 3, value: 16}, {step: 6, value: 32}]"});
  const TrainConfig& train = config.train;
  EXPECT_EQ(train.batch_size_at(0), 8);
  EXPECT_EQ(train.batch_size_at(2), 8);
  EXPECT_EQ(train.batch_size_at(3), 16);
  EXPECT_EQ(train.batch_size_at(5), 16);
  EXPECT_EQ(train.batch_size_at(6), 32);
  EXPECT_EQ(train.batch_size_at(1000), 32);
  EXPECT_EQ(load().train.batch_size_at(7), 32);
  EXPECT_NO_THROW(config.validate_for_world(2));
  try {
    config.validate_for_world(4);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "train.batch_ramp: 8 sequences cannot be split over 4 data-parallel ranks in "
                 "micro-batches of 4: a multiple of 16 is needed, such as 16");
  }
}

TEST(RunConfig, RejectsRampsThatAreNone) {
  EXPECT_EQ(error_of({"train.batch_ramp=[{step: 2, value: 32}]"}),
            "command line: train.batch_ramp: the first step must be 0, got 2");
  EXPECT_EQ(error_of({"train.batch_ramp=[{step: 0, value: 8}, {step: 0, value: 32}]"}),
            "command line: train.batch_ramp: steps must rise strictly, got 0 after 0");
  EXPECT_EQ(error_of({"train.batch_ramp=[{step: 0, value: 8}]"}),
            "command line: train.batch_ramp: the last value, 8, must equal global_batch_size, "
            "which is 32");
  EXPECT_EQ(error_of({"train.batch_ramp=[{step: 0}]"}),
            "command line: train.batch_ramp.0.value: missing; it is required (sequences in a batch "
            "from that step on)");
}

TEST(RunConfig, ComputeTypes) {
  EXPECT_EQ((PrecisionConfig{.compute = ComputePrecision::bf16}).compute_type(), DType::bf16);
  EXPECT_EQ((PrecisionConfig{.compute = ComputePrecision::fp32}).compute_type(), DType::f32);
  EXPECT_EQ((PrecisionConfig{.compute = ComputePrecision::fp64}).compute_type(), DType::f64);
}

TEST(RunConfig, SchemaNamesEverySection) {
  const std::string schema = run_config_schema();
  for (const char* section : {"model", "data", "optimizer", "schedule", "train", "parallel",
                              "precision", "checkpoint", "eval", "logging", "device"}) {
    EXPECT_NE(schema.find("\n    \"" + std::string(section) + "\": {"), std::string::npos)
        << section;
  }
}

}  // namespace
}  // namespace gda
