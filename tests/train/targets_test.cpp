// Steps whose samples have nothing to predict: documents of one token each, of which every token is
// the last of its document.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/train/trainer.h"
#include "support/temporary_folder.h"
#include "support/tiny_run.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

class TargetsTest : public ::testing::Test {
 protected:
  // One source of `with` windows of text and `without` of single tokens, in an order by the data's
  // seed; a step takes one.
  RunConfig config(int with, int without) {
    const std::string prefix = (folder_ / "mixed").string();
    TokenDatasetWriter writer(prefix, 19);
    for (int i = 0; i < with; ++i) add(writer, 16);
    for (int i = 0; i < 16 * without; ++i) add(writer, 1);
    writer.finish();
    RunConfig config = test::tiny_run(folder_.path(), folder_ / "run");
    config.data.sources = {{.name = "mixed", .path = prefix, .weight = {}}};
    config.data.validation_fraction = 0;
    config.train.global_batch_size = 1;
    config.train.skip.max_consecutive_skips = 1000;
    config.logging.every_steps = 1;
    config.schedule.name = ScheduleName::constant;
    config.optimizer.weight_decay = 0.5;
    return config;
  }

  static void add(TokenDatasetWriter& writer, std::size_t tokens) {
    std::vector<std::int32_t> document(tokens);
    for (std::size_t i = 0; i < tokens; ++i) document[i] = static_cast<std::int32_t>(i % 19);
    writer.append(document);
    writer.end_document();
  }

  static RunState go(const RunConfig& config, bool resumed = false) {
    const auto world = make_self_communicator();
    Trainer trainer(config, *world);
    const StopRequest stop;
    resumed ? trainer.resume() : trainer.begin();
    trainer.run(stop);
    return trainer.state();
  }

  std::vector<nlohmann::json> metrics() const {
    std::vector<nlohmann::json> lines;
    std::istringstream text(read_text_file(folder_ / "run" / "metrics.jsonl"));
    for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }

  static RunState read_state(const StepFolder& folder) {
    return parse_run_state(read_text_file(folder.path / "trainer.json"), "trainer.json");
  }

  std::string weights(std::int64_t step) const {
    return read_text_file(folder_ / "run" / "checkpoints" / step_folder_name({.step = step}) /
                          "model.safetensors");
  }

  const test::TemporaryFolder folder_;
};

TEST_F(TargetsTest, AStepWithoutAnyMovesNothing) {
  RunConfig run = config(12, 12);
  run.train.steps = 24;
  run.checkpoint.every_steps = 1;
  run.checkpoint.keep_last = 30;
  const RunState state = go(run);
  std::int64_t empty = 0;
  std::int64_t skipped = 0;
  double flops = 0;
  for (const auto& line : metrics()) {
    const std::int64_t step = line.at("step");
    const bool is_empty = line.at("targets") == 0;
    empty += is_empty ? 1 : 0;
    EXPECT_EQ(line.at("loss").is_null(), is_empty) << step;
    EXPECT_EQ(line.at("grad_norm").is_null(), is_empty) << step;
    EXPECT_EQ(line.at("skipped"), empty) << step;
    EXPECT_EQ(line.at("flops") == flops, is_empty) << "nothing is computed";
    flops = line.at("flops");
    if (step > 1) {
      EXPECT_EQ(weights(step) == weights(step - 1), is_empty) << step;
    }
    skipped = line.at("skipped");
  }
  EXPECT_GE(empty, 10);  // windows may begin within a document
  EXPECT_GE(24 - empty, 10);
  EXPECT_EQ(state.updates, 24 - empty);
  EXPECT_EQ(state.guard.skipped, skipped);
}

// The samples are no sign of divergence: what is saved among them is healthy.
TEST_F(TargetsTest, ManyInARowEndTheRunSaved) {
  RunConfig run = config(4, 400);
  run.train.steps = 100;
  run.train.skip.max_consecutive_skips = 5;
  std::string fault;
  try {
    go(run);
  } catch (const FormatError& error) {
    fault = error.what();
  }
  EXPECT_NE(fault.find("5 steps in a row had nothing to predict"), std::string::npos) << fault;
  EXPECT_NE(fault.find("of mixed,"), std::string::npos) << fault;
  const auto folders = list_step_folders(folder_ / "run" / "checkpoints");
  ASSERT_FALSE(folders.empty());
  EXPECT_TRUE(read_manifest(folders.back().path).unhealthy.empty());
  EXPECT_NE(fault.find("Step " + std::to_string(folders.back().name.step) + " is saved"),
            std::string::npos)
      << fault;
  // The advice works.
  run.data.document_mask = false;
  run.train.steps = folders.back().name.step + 10;
  const std::int64_t updates = read_state(folders.back()).updates;
  EXPECT_EQ(go(run, true).updates, updates + 10);
}

}  // namespace
}  // namespace gda
