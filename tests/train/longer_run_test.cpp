#include "gda/train/longer_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "gda/core/error.h"
#include "gda/core/file.h"
#include "support/temporary_folder.h"
#include "support/tiny_run.h"
#include "train/run_timeline.h"

namespace gda {
namespace {

RunConfig run_of(const std::string& schedule, std::int64_t steps) {
  RunConfig config = test::tiny_run("data", "runs/x");
  config.schedule.name = from_word<ScheduleName>(schedule).value();
  config.schedule.warmup_steps = 4;
  config.train.steps = steps;
  return config;
}

RunConfig with_steps(RunConfig config, std::int64_t steps) {
  config.train.steps = steps;
  return config;
}

// What is said of a run that goes on with other settings; empty: nothing.
std::string said(const RunConfig& before, RunConfig after, std::int64_t step) {
  return keep_schedule(before, after, step, "gda resume runs/x");
}

// Whether a run that goes on for `steps` steps keeps its schedule; then its rate does not move.
bool keeps(const RunConfig& before, std::int64_t steps, std::int64_t step) {
  RunConfig after = with_steps(before, steps);
  if (keep_schedule(before, after, step, "gda resume runs/x").empty()) {
    EXPECT_EQ(after, with_steps(before, steps));
    return false;
  }
  EXPECT_EQ(after.schedule.steps, before.train.steps);
  const RunTimeline was(before);
  const RunTimeline is(after);
  for (std::int64_t i = 0; i < before.train.steps; ++i) {
    EXPECT_EQ(is.learning_rate(i), was.learning_rate(i));
  }
  EXPECT_EQ(is.learning_rate(std::max(steps, before.train.steps) + 9),
            was.learning_rate(before.train.steps - 1));
  return true;
}

TEST(LongerRun, KeepsItsScheduleOnceADecayHasBegun) {
  // wsd decays in the last fifth: steps 81 to 100.
  const RunConfig wsd = run_of("wsd", 100);
  for (const std::int64_t steps : {90, 120, 1000}) {
    EXPECT_FALSE(keeps(wsd, steps, 0)) << steps;
    EXPECT_FALSE(keeps(wsd, steps, 4)) << steps;
    EXPECT_FALSE(keeps(wsd, steps, 72)) << steps;
    EXPECT_TRUE(keeps(wsd, steps, 81)) << steps;
  }
  EXPECT_TRUE(keeps(wsd, 1000, 100));
  EXPECT_FALSE(keeps(wsd, 1000, 80));
  // In a run of 90 steps, step 73 would have decayed.
  EXPECT_TRUE(keeps(wsd, 90, 73));
  EXPECT_FALSE(keeps(wsd, 100, 95));
  for (const char* name : {"cosine", "linear"}) {
    const RunConfig falling = run_of(name, 100);
    EXPECT_FALSE(keeps(falling, 200, 4)) << name;
    EXPECT_TRUE(keeps(falling, 200, 5)) << name;
    EXPECT_TRUE(keeps(falling, 50, 5)) << name;
    EXPECT_TRUE(keeps(falling, 101, 100)) << name;
  }
  EXPECT_FALSE(keeps(run_of("constant", 100), 200, 100));
}

TEST(LongerRun, SaysWhatItDoesAndHowToDoOtherwise) {
  const RunConfig before = run_of("linear", 20);
  EXPECT_EQ(said(before, with_steps(before, 40), 20),
            "train.steps: 40, but the learning rate decays over 20 steps, and was 0.0003 at step "
            "20: the schedule stays as it was laid out, 0.0003 from step 21 on "
            "(schedule.steps=20). To lay it out anew: gda resume runs/x train.steps=40 "
            "schedule.steps=40  # 0.00173 at step 21, 0.0003 at step 40");
}

TEST(LongerRun, ARateOfZeroIsNoWayToGoOn) {
  for (const char* name : {"wsd", "cosine", "linear"}) {
    RunConfig before = run_of(name, 20);
    before.schedule.min_lr_ratio = 0;
    RunConfig after = with_steps(before, 40);
    try {
      keep_schedule(before, after, 20, "gda resume runs/x");
      FAIL() << name;
    } catch (const ConfigError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("nothing would be learned from step 21 on"), std::string::npos) << text;
      EXPECT_NE(text.find("\n  gda resume runs/x train.steps=40 schedule.steps=40  # "),
                std::string::npos)
          << text;
    }
    // There is something left of the decay.
    EXPECT_TRUE(keeps(before, 40, 18)) << name;
  }
}

TEST(LongerRun, BothChoicesAreAccepted) {
  for (const char* name : {"wsd", "cosine", "linear"}) {
    const RunConfig before = run_of(name, 20);
    const RunTimeline was(before);
    for (const std::int64_t length : {20, 40}) {
      RunConfig after = with_steps(before, 40);
      after.schedule.steps = length;
      EXPECT_EQ(said(before, after, 20), "") << name;
      const RunTimeline timeline(after);
      EXPECT_EQ(timeline.learning_rate(10) == was.learning_rate(10), length == 20 || *name == 'w');
      EXPECT_DOUBLE_EQ(timeline.learning_rate(39), 3e-4);
      EXPECT_EQ(timeline.learning_rate(20) > 3.1e-4, length == 40) << name;
      // What was chosen stays chosen.
      EXPECT_EQ(said(after, with_steps(after, 80), 40), "") << name;
    }
  }
}

TEST(LongerRun, AnotherScheduleIsAChoice) {
  const RunConfig before = run_of("wsd", 20);
  RunConfig after = with_steps(before, 40);
  after.schedule.decay_fraction = 0.5;
  EXPECT_EQ(said(before, after, 20), "");
}

TEST(LongerRun, StagesThatRewindDecayByTheRunToo) {
  RunConfig before = run_of("cosine", 100);
  GrowthStageConfig stage;
  stage.step = 50;
  stage.plan_file = (test::process_folder() / "plan.yaml").string();
  write_text_file_atomically(stage.plan_file, "steps: [{operator: depth, every: 1}]\n");
  stage.learning_rate = StageRate::rewind;
  before.growth.stages = {stage};
  EXPECT_TRUE(keeps(before, 200, 60));
  RunConfig kept = with_steps(before, 200);
  kept.schedule.steps = 100;
  EXPECT_EQ(said(before, kept, 60), "");
  const RunTimeline was(before);
  const RunTimeline timeline(kept);
  for (const std::int64_t step : {10, 49, 50, 75, 99}) {
    EXPECT_EQ(timeline.learning_rate(step), was.learning_rate(step)) << step;
  }
  EXPECT_DOUBLE_EQ(timeline.learning_rate(150), 3e-4);
}

TEST(LongerRun, WhatToTrainOnWithIsAccepted) {
  for (const char* name : {"wsd", "cosine", "linear", "constant"}) {
    RunConfig before = run_of(name, 20);
    const bool decays = std::string(name) != "constant";
    EXPECT_EQ(settings_to_train_on(before, 20),
              decays ? "train.steps=40 schedule.steps=40" : "train.steps=40");
    EXPECT_EQ(settings_to_train_on(before, 0), "train.steps=1");
    if (!decays) continue;
    before.schedule.steps = 20;
    EXPECT_EQ(settings_to_train_on(before, 20), "train.steps=40 schedule.steps=40");
  }
  EXPECT_EQ(settings_to_train_on(run_of("wsd", 100), 30), "train.steps=60");
}

}  // namespace
}  // namespace gda
