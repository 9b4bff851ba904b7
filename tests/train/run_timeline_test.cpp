#include "train/run_timeline.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "gda/core/error.h"
#include "gda/core/file.h"
#include "support/temporary_folder.h"
#include "support/tiny_run.h"

namespace gda {
namespace {

// 100 steps of 8 sequences of 16 tokens; `stages` is a YAML list.
RunConfig run_with(const std::string& stages) {
  const std::filesystem::path path = test::process_folder() / "run.yaml";
  RunConfig config = test::tiny_run("data", "runs/x");
  config.train.steps = 100;
  config.train.global_batch_size = 8;
  config.schedule.name = ScheduleName::cosine;
  config.schedule.warmup_steps = 10;
  write_text_file_atomically(path, config.yaml());
  return load_run_config(path, {"growth.stages=" + stages});
}

std::string error_of(const std::string& stages) {
  try {
    run_with(stages);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "(no error)";
}

constexpr const char* kDepth = "plan: {steps: [{operator: depth, every: 1}]}";

std::string stage(const std::string& rest) {
  return "{" + rest + ", " + kDepth + "}";
}

TEST(RunTimeline, WithoutStagesIsTheSchedule) {
  const RunConfig config = run_with("[]");
  const RunTimeline timeline(config);
  EXPECT_EQ(timeline.stages(), 0);
  EXPECT_EQ(timeline.first_sample(7), 56);
  EXPECT_EQ(timeline.learning_rate(50), learning_rate(config.schedule, 3e-3, 100, 50));
  EXPECT_EQ(timeline.data(), config.data);
}

TEST(RunTimeline, AStageGrowsTheModelAtItsStep) {
  const RunTimeline timeline(run_with("[" + stage("step: 30") + "]"));
  ASSERT_EQ(timeline.stages(), 1);
  EXPECT_EQ(timeline.stage_step(0), 30);
  const std::int64_t layers = timeline.model(0).num_hidden_layers;
  EXPECT_EQ(timeline.model(1).num_hidden_layers, 2 * layers);
}

TEST(RunTimeline, TokensBecomeTheFirstStepThatBeginsWithThem) {
  // A step has 8 * 16 = 128 tokens, and 256 from step 10 on.
  const RunTimeline timeline(run_with("[" + stage("step: 10, global_batch_size: 16") + "," +
                                      stage("tokens: 1536") + "," + stage("tokens: 1793") + "]"));
  EXPECT_EQ(timeline.first_sample(10), 80);
  EXPECT_EQ(timeline.first_sample(12), 112);
  EXPECT_EQ(timeline.batch_size(9), 8);
  EXPECT_EQ(timeline.batch_size(10), 16);
  // 1280 tokens are seen before step 10, 1536 before step 11 and 1792 before step 12.
  EXPECT_EQ(timeline.stage_step(1), 11);
  EXPECT_EQ(timeline.stage_step(2), 13);
}

TEST(RunTimeline, RewindBeginsTheScheduleAgainAtItsPeak) {
  const RunConfig config = run_with("[" + stage("step: 40, learning_rate: rewind") + "]");
  const RunTimeline timeline(config);
  ScheduleConfig again = config.schedule;
  again.warmup_steps = 0;
  EXPECT_EQ(timeline.learning_rate(39), learning_rate(config.schedule, 3e-3, 100, 39));
  EXPECT_EQ(timeline.learning_rate(40), learning_rate(again, 3e-3, 60, 0));
  EXPECT_GT(timeline.learning_rate(40), 1.2 * timeline.learning_rate(39));
  EXPECT_DOUBLE_EQ(timeline.learning_rate(99), 3e-4);  // min_lr_ratio 0.1
}

TEST(RunTimeline, RewarmRisesToWhatTheScheduleSays) {
  const RunConfig config = run_with("[" + stage("step: 40, rewarm_steps: 4") + "]");
  const RunTimeline timeline(config);
  const auto plain = [&](std::int64_t step) {
    return learning_rate(config.schedule, 3e-3, 100, step);
  };
  EXPECT_DOUBLE_EQ(timeline.learning_rate(40), 0.25 * plain(40));
  EXPECT_DOUBLE_EQ(timeline.learning_rate(42), 0.75 * plain(42));
  EXPECT_DOUBLE_EQ(timeline.learning_rate(43), plain(43));
  EXPECT_DOUBLE_EQ(timeline.learning_rate(90), plain(90));
}

TEST(RunTimeline, WeightsJumpWithoutMovingWhatCameBefore) {
  const RunConfig config = run_with(
      "[" + stage("step: 20, weights: [{name: one, weight: 0.2}, {name: two, weight: 3}]") + "]");
  const RunTimeline timeline(config);
  const Timeline& one = timeline.data().sources[0].weight;
  EXPECT_EQ(one.at(0), 1);
  EXPECT_EQ(one.at(19), 1);
  EXPECT_EQ(one.at(20), 0.2);
  EXPECT_EQ(timeline.data().sources[1].weight.at(99), 3);
}

TEST(RunTimeline, APlanFileIsStoredWithTheRun) {
  const std::filesystem::path plan = test::process_folder() / "plan.yaml";
  write_text_file_atomically(plan, "steps: [{operator: depth, every: 1}]\n");
  const RunConfig config = run_with("[{step: 30, plan_file: " + plan.string() + "}]");
  ASSERT_EQ(config.growth.stages.size(), 1U);
  EXPECT_EQ(config.growth.stages[0].plan.value().steps.size(), 1U);
  EXPECT_TRUE(config.growth.stages[0].plan_file.empty());
  EXPECT_EQ(config, run_with("[" + stage("step: 30") + "]"));
}

TEST(RunTimeline, SaysWhichStageDoesNotFit) {
  const auto expect = [](const std::string& stages, const std::string& message) {
    EXPECT_NE(error_of(stages).find(message), std::string::npos) << error_of(stages);
  };
  expect("[" + stage("step: 3, tokens: 5") + "]", "give step or tokens, not both");
  expect(std::string("[{") + kDepth + "}]", "missing; give step or tokens");
  expect("[{step: 3}]", "missing; give plan: {steps: [...]}, or plan_file");
  expect("[" + stage("step: 100") + "]",
         "growth.stages: stage 1: begins at step 100, but train.steps is 100");
  expect("[" + stage("step: 30") + "," + stage("step: 30") + "]",
         "growth.stages: stage 2: begins at step 30, not after the stage before, which begins at "
         "30");
  expect("[" + stage("step: 30, weights: [{name: three, weight: 1}]") + "]",
         "growth.stages: stage 1: \"three\" is not the name of a data source; those are: one, two");
  expect("[{step: 5, plan: {steps: [{operator: masked, layers: 3, ramp_steps: 20}]}}," +
             stage("step: 24") + "]",
         "growth.stages: stage 2: begins at step 24, while what the stage before added is still "
         "being faded in, until step 25");
  expect("[{step: 5, plan_file: /nowhere.yaml}]", "/nowhere.yaml");
  expect("[" + stage("step: 30, global_batch_size: 7") + "]", "(no error)");
}

TEST(RunTimeline, StageBatchesSplitOverTheRanks) {
  const RunConfig config = run_with("[" + stage("step: 30, global_batch_size: 6") + "]");
  EXPECT_NO_THROW(config.validate_for_world(2));
  try {
    config.validate_for_world(4);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("growth.stages: 6 sequences cannot be split over 4"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace gda
