// Whole runs on one and several ranks beside a run that was done by hand, beside what one rank
// tells, and with parameters and gradients that are late.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "gda/train/trainer.h"
#include "support/late_communicator.h"
#include "support/metrics.h"
#include "support/run_by_hand.h"
#include "support/shared_folder.h"
#include "support/tiny_run.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::int64_t kSteps = 15;
constexpr std::int64_t kSaved = 9;

class WholeRunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (test::world().rank() == 0) test::write_tiny_data(folder_.path());
    test::world().barrier();
  }

  // Of f64, where some updates are skipped and some gradients clipped.
  RunConfig config(const std::string& name) const {
    RunConfig config = test::tiny_run(folder_.path(), folder_.path() / name);
    config.precision.compute = ComputePrecision::fp64;
    config.device = WantedDevice::cpu;
    config.train.steps = kSteps;
    config.schedule.name = ScheduleName::constant;
    config.schedule.warmup_steps = 4;
    config.optimizer.lr = 5e-3;
    config.optimizer.weight_decay = 0.5;
    config.optimizer.eps = 1e-4;
    config.optimizer.grad_clip = 0.8;
    config.train.skip.spike_sigmas = 3;
    config.train.skip.window = 4;
    config.train.skip.max_consecutive_skips = 100;
    config.checkpoint.every_steps = kSaved;
    config.checkpoint.keep_last = 100;
    config.eval.every_steps = 4;
    config.eval.steps = 1;
    config.logging.every_steps = 1;
    return config;
  }

  static void grow_at(RunConfig& config, std::int64_t step) {
    config.growth.stages.resize(1);
    config.growth.stages[0].step = step;
    config.growth.stages[0].plan = GrowthPlan{};
    config.growth.stages[0].plan->steps.push_back({SignalHeads{.factor = 2}});
  }

  // Back to the newest checkpoint of up to `step`.
  static void forget_after(const RunConfig& config, std::int64_t step) {
    test::world().barrier();
    if (test::world().rank() == 0) {
      const fs::path checkpoints = fs::path(config.run_dir) / "checkpoints";
      for (const StepFolder& folder : list_step_folders(checkpoints)) {
        if (folder.name.step > step) fs::remove_all(folder.path);
      }
    }
    test::world().barrier();
  }

  const test::SharedFolder folder_;
};

// Sums of n = 12 * 16 terms in another order differ by up to n u = 2e-14 of the terms' sizes; where
// an element is 1e-3 of its terms Adam's quotient differs by 2e-11, and 15 steps of at most lr =
// 0.005 move parameters of size 0.1 and more by less than 15 * 0.005 * 2e-11 / 0.1 < 1e-10 of that.
constexpr double kRounding = 1e-10;

void expect_numbers(const Tensor& found, std::int64_t offset,
                    const test::RunByHand::Numbers& expected, const std::string& what) {
  double largest = 0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (std::int64_t i = 0; i < found.elements(); ++i) {
    ASSERT_NEAR(found.data<double>()[i], expected[static_cast<std::size_t>(offset + i)],
                kRounding * largest)
        << what << " " << offset + i;
  }
}

void expect_state(const Trainer& trainer, test::RunByHand& by_hand) {
  EXPECT_EQ(trainer.state().updates, by_hand.updates());
  for (const Parameter& parameter : trainer.parameters().all()) {
    const std::string& name = parameter.spec.name;
    const Tensor flat(parameter.value.raw(), DType::f64, {parameter.value.elements()});
    expect_numbers(flat, 0, by_hand.value(name), name);
  }
  for (const OptimizerPiece& piece : trainer.optimizer().pieces()) {
    const std::string& name = piece.spec().name;
    expect_numbers(piece.state("exp_avg"), piece.offset, by_hand.first_moment(name),
                   "exp_avg " + name);
    expect_numbers(piece.state("exp_avg_sq"), piece.offset, by_hand.second_moment(name),
                   "exp_avg_sq " + name);
  }
}

// Samples with and without targets, accumulated gradients, clipping, skipped updates, weight decay,
// the learning rate; and once more after an interruption among skipped updates.
TEST_F(WholeRunTest, IsTheOneDoneByHand) {
  const RunConfig whole = config("whole");
  test::RunByHand by_hand(whole);
  std::vector<test::HandStep> steps;
  for (std::int64_t step = 0; step < kSteps; ++step) steps.push_back(by_hand.step(step));
  const auto skipped = [&](std::int64_t from, std::int64_t to) {
    return std::count_if(steps.begin() + from, steps.begin() + to,
                         [](const test::HandStep& step) { return step.skipped; });
  };
  // What this is about happens, before and after the interruption.
  ASSERT_GT(skipped(0, kSaved), 0);
  ASSERT_GT(skipped(kSaved, kSaved + 3), 0);
  ASSERT_FALSE(steps.back().skipped);
  ASSERT_GT(steps[0].gradient_norm, whole.optimizer.grad_clip);
  ASSERT_LT(steps[4].gradient_norm, whole.optimizer.grad_clip);

  for (const bool resumed : {false, true}) {
    if (resumed) forget_after(whole, kSaved);
    Trainer trainer(whole, test::world());
    test::train(trainer, resumed);
    expect_state(trainer, by_hand);
    test::world().barrier();
    std::size_t next = 0;
    for (const Json& line : test::metrics_of(whole.run_dir)) {
      if (!line.contains("loss")) continue;
      const test::HandStep& step = steps.at(next++);
      const auto at = "step " + std::to_string(next);
      test::expect_near(line.at("loss"), step.loss, kRounding, at + " loss");
      test::expect_near(line.at("loss_by_source"), step.source_loss, kRounding,
                        at + " losses of sources");
      test::expect_near(line.at("grad_norm"), step.gradient_norm, kRounding, at + " norm");
      test::expect_near(line.at("lr"), step.lr, kRounding, at + " rate");
      EXPECT_EQ(line.at("skipped"), skipped(0, static_cast<std::int64_t>(next))) << at;
    }
    EXPECT_EQ(next, steps.size());
  }
}

// Losses, those of sources, of evaluations and of growth, norms, lambdas, counts. One rank's
// micro-batch has the rows of all ranks'.
TEST_F(WholeRunTest, SeveralRanksTellWhatOneTells) {
  RunConfig alone = config(test::SharedFolder::own("alone"));
  grow_at(alone, 11);
  alone.train.micro_batch_size = test::world().size();
  // All of the 46 and 28 samples: the last micro-batch is a shorter one, or of some ranks only.
  alone.eval.steps = 4;
  const auto self = make_self_communicator();
  Trainer one(alone, *self);
  test::train(one);
  RunConfig together = alone;
  together.run_dir = (folder_.path() / "together").string();
  together.train.micro_batch_size = 1;
  Trainer many(together, test::world());
  test::train(many);
  test::world().barrier();
  const std::vector<Json> expected = test::metrics_of(alone.run_dir);
  const std::vector<Json> found = test::metrics_of(together.run_dir);
  ASSERT_EQ(found.size(), expected.size());
  EXPECT_GT(found.size(), static_cast<std::size_t>(kSteps + 3));
  for (std::size_t i = 0; i < found.size(); ++i) {
    test::expect_near(found[i], expected[i], kRounding, "line " + std::to_string(i + 1));
  }
}

// What is still being gathered or summed holds no numbers: the next pass waits for it, and whatever
// else looks at the model; each of these alone, since one that waits does so for all after it.
class LateTest : public WholeRunTest, public ::testing::WithParamInterface<const char*> {
 protected:
  RunConfig config(const std::string& name) const {
    RunConfig config = WholeRunTest::config(name);
    const std::string reader = GetParam();
    config.train.steps = 5;
    config.logging.every_steps = reader == "report" ? 1 : 100;
    config.eval.every_steps = reader == "evaluation" ? 1 : 0;
    config.checkpoint.every_steps = reader.ends_with("checkpoint") ? 1 : 0;
    config.checkpoint.async = reader == "asynchronous checkpoint";
    if (reader == "growth") grow_at(config, 3);
    return config;
  }

  // Hashes of all files of all checkpoints, but for those that name the run folder, and their
  // health.
  static std::map<std::string, std::string> hashes(const RunConfig& config) {
    std::map<std::string, std::string> all;
    for (const StepFolder& folder : list_step_folders(fs::path(config.run_dir) / "checkpoints")) {
      const Manifest manifest = read_manifest(folder.path);
      const std::string name = folder.path.filename().string();
      all[name] = manifest.unhealthy;
      for (const WrittenFile& file : manifest.files) {
        if (file.name != "config.yaml") all[name + "/" + file.name] = file.hash;
      }
    }
    return all;
  }
};

TEST_P(LateTest, NothingIsReadBeforeItIsThere) {
  if (test::world().size() == 1) GTEST_SKIP() << "one rank gathers nothing";
  const RunConfig punctual = config("punctual");
  const RunConfig late = config("late");
  {
    Trainer trainer(punctual, test::world());
    test::train(trainer);
  }
  {
    test::LateCommunicator group(test::world());
    Trainer trainer(late, group);
    test::train(trainer);
  }
  test::world().barrier();
  EXPECT_EQ(test::metrics_of(late.run_dir), test::metrics_of(punctual.run_dir));
  EXPECT_EQ(hashes(late), hashes(punctual));
}

INSTANTIATE_TEST_SUITE_P(Readers, LateTest,
                         ::testing::Values("report", "evaluation", "checkpoint",
                                           "asynchronous checkpoint", "growth"));

// The embedding of a token that no text has, of whichever rank it is.
TEST_F(WholeRunTest, WeightsThatAreNotFiniteAreUnhealthyWhereTheLossIsFinite) {
  for (const double value : {HUGE_VAL, -HUGE_VAL, std::nan("")}) {
    RunConfig run = config("broken by " + std::to_string(value));
    run.model.vocab_size = 20;  // of which the data has 19
    run.train.steps = 1;
    Trainer trainer(run, test::world());
    trainer.begin();
    const Tensor& embedding = trainer.parameters().at("model.embed_tokens.weight").value;
    embedding.data<double>()[embedding.elements() - 1] = value;
    trainer.run(StopRequest());
    EXPECT_TRUE(std::isfinite(trainer.last_step().loss));
    EXPECT_EQ(trainer.last_step().skipped, "");
    test::world().barrier();
    const auto saved = list_step_folders(fs::path(run.run_dir) / "checkpoints");
    ASSERT_EQ(saved.size(), 1U);
    EXPECT_EQ(read_manifest(saved[0].path).unhealthy, "its weights are not finite") << value;
  }
}

TEST_F(WholeRunTest, ACheckpointWaitsForWhatIsGathered) {
  const RunConfig run = config("run");
  test::LateCommunicator late(test::world());
  ParameterStore parameters(parameter_specs(run.model), DType::f64, late.size(), true);
  GradientBuckets buckets(parameters, late);
  Optimizer optimizer(buckets, make_update_rules({}, buckets));
  Arena arena;
  const Context context{Stream{}, arena};
  parameters.initialize(3);
  RunCheckpoints checkpoints(folder_.path() / "checkpoints", run.checkpoint, test::world(),
                             parameters.specs(), buckets, optimizer);
  optimizer.publish_masters(context);
  checkpoints.save(context, {.model = run.model, .state = {}, .growth = {}, .run_config = ""},
                   true);
  ParameterStore expected(parameter_specs(run.model), DType::f64, 1, false);
  expected.initialize(3);
  const auto reader = newest_whole_checkpoint(folder_.path() / "checkpoints");
  ASSERT_TRUE(reader.has_value());
  for (const Parameter& parameter : expected.all()) {
    const OwnedTensor found(DType::f64, parameter.value.shape());
    reader->read_parameter(parameter.spec.name, found.tensor);
    EXPECT_EQ(std::memcmp(found.tensor.raw(), parameter.value.raw(), found.tensor.bytes()), 0)
        << parameter.spec.name;
  }
}

}  // namespace
}  // namespace gda
