// The same run on several ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "gda/train/trainer.h"
#include "support/mpi.h"
#include "support/ramp_run.h"
#include "support/shared_folder.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

class RanksTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (test::world().rank() == 0) test::write_tiny_data(root_ / "data");
    test::world().barrier();
  }

  RunConfig config(const std::string& name) const {
    RunConfig config = test::tiny_run(root_ / "data", root_ / name);
    config.train.skip.max_consecutive_skips = 100;
    config.schedule.steps = config.train.steps;  // also of shorter runs, and of those that go on
    return config;
  }

  static StepResult run(Communicator& group, const RunConfig& config, bool resume) {
    Trainer trainer(config, group);
    test::train(trainer, resume);
    return trainer.last_step();
  }

  // The run on this rank alone, in a folder of its own.
  StepResult run_alone(const std::string& name, std::int64_t steps) const {
    const auto self = make_self_communicator();
    RunConfig alone = config(name + "-rank-" + std::to_string(test::world().rank()));
    alone.train.steps = steps;
    return run(*self, alone, false);
  }

  const test::SharedFolder folder_;
  const fs::path root_ = folder_.path();
};

// Gradients are the same sums in another order. In f32 an element's sum of n = 12 * 16 terms
// differs by at most n * 2^-24 = 1e-5 of the terms' size, and Adam divides by the gradient's own
// size, so a step moves a parameter by lr * 1e-5 more or less; 20 steps at lr 3e-3 leave the loss
// within 20 * 1e-5.
TEST_F(RanksTest, OneRankOrMany) {
  const StepResult alone = run_alone("alone", 20);
  const StepResult together = run(test::world(), config("together"), false);
  EXPECT_NEAR(together.loss, alone.loss, 2e-4 * alone.loss);
  EXPECT_NEAR(together.gradient_norm, alone.gradient_norm, 2e-3 * alone.gradient_norm);
  EXPECT_EQ(together.targets, alone.targets);
}

TEST_F(RanksTest, TheFirstLossIsThatOfOneRank) {
  const StepResult alone = run_alone("alone", 1);
  RunConfig one = config("together");
  one.train.steps = 1;
  const StepResult together = run(test::world(), one, false);
  EXPECT_NEAR(together.loss, alone.loss, 1e-6 * alone.loss);
}

// Written by all ranks, gone on with by one: the same samples, the first loss within rounding of
// the run that went on with all ranks.
TEST_F(RanksTest, ACheckpointOpensAtAnotherWorldSize) {
  RunConfig half = config("half");
  half.train.steps = 6;
  run(test::world(), half, false);
  test::world().barrier();
  const fs::path copy = root_ / ("resumed-by-" + std::to_string(test::world().rank()));
  fs::create_directories(copy);
  fs::copy(root_ / "half", copy, fs::copy_options::recursive);
  RunConfig alone = half;
  alone.run_dir = copy.string();
  alone.train.steps = 7;
  const auto self = make_self_communicator();
  const StepResult one = run(*self, alone, true);
  RunConfig all = half;
  all.train.steps = 7;
  const StepResult many = run(test::world(), all, true);
  EXPECT_NEAR(one.loss, many.loss, 1e-6 * many.loss);
  EXPECT_EQ(one.source_targets, many.source_targets);
}

// And the other way: written by one rank, gone on with by all.
TEST_F(RanksTest, ACheckpointOfOneRankOpensOnMany) {
  RunConfig half = config("half");
  half.train.steps = 6;
  if (test::world().rank() == 0) {
    const auto self = make_self_communicator();
    run(*self, half, false);
  }
  test::world().barrier();
  const fs::path copy = root_ / ("copy-" + std::to_string(test::world().rank()));
  fs::create_directories(copy);
  fs::copy(root_ / "half", copy, fs::copy_options::recursive);
  test::world().barrier();
  RunConfig next = half;
  next.train.steps = 7;
  const StepResult many = run(test::world(), next, true);
  next.run_dir = copy.string();
  const auto self = make_self_communicator();
  const StepResult one = run(*self, next, true);
  EXPECT_NEAR(one.loss, many.loss, 1e-6 * many.loss);
  EXPECT_EQ(one.source_targets, many.source_targets);
}

// Muon's matrices have other owners on each number of ranks, and its state is cut elsewhere: a run
// that one rank began, and that all go on with, ends as the one that this rank does alone. In f64:
// sums of 60 * 16 terms in another order differ by 1e-13 of the terms' sizes; Newton-Schulz raises
// that by less than 500, the product of its polynomials' slopes at zero, and five steps of at most
// lr = 3e-3 move weights of size 0.05 by less than 5 * 3e-3 * 5e-11 / 0.05 < 2e-11 of that.
TEST_F(RanksTest, MuonGoesOnAtAnotherWorldSize) {
  const auto with_muon = [&](const std::string& name, std::int64_t steps) {
    RunConfig run = config(name);
    run.precision.compute = ComputePrecision::fp64;
    run.optimizer.name = OptimizerName::muon;
    run.optimizer.qk_clip = QkClipConfig{.threshold = 0.05, .every_steps = 2};
    run.train.global_batch_size = 60;  // for up to five ranks
    run.train.steps = steps;
    return run;
  };
  const auto self = make_self_communicator();
  Trainer alone(with_muon("alone-" + std::to_string(test::world().rank()), 8), *self);
  test::train(alone, false);
  if (test::world().rank() == 0) {
    Trainer begun(with_muon("half", 3), *self);
    test::train(begun, false);
  }
  test::world().barrier();
  Trainer many(with_muon("half", 8), test::world());
  test::train(many, true);
  EXPECT_NEAR(many.last_step().loss, alone.last_step().loss, 1e-10);
  for (const Parameter& parameter : alone.parameters().all()) {
    const Tensor& other = many.parameters().at(parameter.spec.name).value;
    for (std::int64_t i = 0; i < other.elements(); ++i) {
      ASSERT_NEAR(other.data<double>()[i], parameter.value.data<double>()[i], 1e-10)
          << parameter.spec.name << " " << i;
    }
  }
}

// Interrupted and resumed at the same world size: the same bits.
TEST_F(RanksTest, ResumingChangesNothing) {
  RunConfig whole = config("whole");
  whole.train.steps = 12;
  whole.checkpoint.every_steps = 6;
  const StepResult expected = run(test::world(), whole, false);
  test::world().barrier();
  if (test::world().rank() == 0) {
    fs::remove_all(root_ / "whole" / "checkpoints" / "step-00000012");
  }
  test::world().barrier();
  const StepResult resumed = run(test::world(), whole, true);
  EXPECT_EQ(resumed.loss, expected.loss);
  EXPECT_EQ(resumed.gradient_norm, expected.gradient_norm);
}

// The model grows at step 4 on all ranks together; resumed from before the growth: the same bits.
// One rank alone takes the same path but for rounding (see OneRankOrMany).
TEST_F(RanksTest, GrowthStages) {
  RunConfig staged = config("staged");
  staged.train.steps = 8;
  staged.checkpoint.every_steps = 2;
  staged.checkpoint.keep_last = 100;
  staged.growth.stages.resize(1);
  staged.growth.stages[0].step = 4;
  GrowthPlan plan;
  plan.steps.push_back({SignalHeads{.factor = 2}});
  plan.steps.push_back({Depth{.every = 1}});
  staged.growth.stages[0].plan = plan;
  const StepResult expected = run(test::world(), staged, false);
  test::world().barrier();
  if (test::world().rank() == 0) {
    for (const char* name : {"step-00000004-grown", "step-00000006", "step-00000008"}) {
      fs::remove_all(root_ / "staged" / "checkpoints" / name);
    }
  }
  test::world().barrier();
  const StepResult resumed = run(test::world(), staged, true);
  EXPECT_EQ(resumed.loss, expected.loss);
  EXPECT_EQ(resumed.gradient_norm, expected.gradient_norm);
  RunConfig alone = staged;
  alone.run_dir = (root_ / ("staged-by-" + std::to_string(test::world().rank()))).string();
  const auto self = make_self_communicator();
  const StepResult one = run(*self, alone, false);
  EXPECT_NEAR(one.loss, expected.loss, 2e-4 * one.loss);
}

// Likewise in the middle of growth; and one rank alone takes the same path but for rounding (see
// OneRankOrMany).
TEST_F(RanksTest, ResumingAGrowthRampChangesNothing) {
  RunConfig whole = config("whole");
  whole.train.steps = 12;
  whole.checkpoint.every_steps = 6;
  const GrowthRamp ramp = test::tiny_ramp(2, 8);
  test::write_ramp_checkpoint(test::world(), whole, ramp, 2);
  const StepResult expected = run(test::world(), whole, true);
  test::world().barrier();
  if (test::world().rank() == 0) {
    fs::remove_all(root_ / "whole" / "checkpoints" / "step-00000012");
  }
  test::world().barrier();
  const StepResult resumed = run(test::world(), whole, true);
  EXPECT_EQ(resumed.loss, expected.loss);
  EXPECT_EQ(resumed.gradient_norm, expected.gradient_norm);

  RunConfig alone = whole;
  alone.run_dir = (root_ / ("alone-" + std::to_string(test::world().rank()))).string();
  const auto self = make_self_communicator();
  test::write_ramp_checkpoint(*self, alone, ramp, 2);
  EXPECT_NEAR(run(*self, alone, true).loss, expected.loss, 2e-4 * expected.loss);
}

}  // namespace
}  // namespace gda
