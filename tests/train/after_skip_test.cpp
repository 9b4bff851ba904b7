// What goes on after updates were skipped: as if the skipped batches had not been, with updates
// counted without them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "gda/train/trainer.h"
#include "support/temporary_folder.h"
#include "support/tiny_run.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

// One training step after another on a model in memory.
class Steps {
 public:
  explicit Steps(const RunConfig& config)
      : config_(config),
        parameters_(parameter_specs(config.model), DType::f64, 1, true),
        model_(config.model, parameters_.specs(), {{.stage = whole_model(config.model)}},
               parameters_, {}),
        buckets_(parameters_, *self_),
        optimizer_(buckets_, make_update_rules({}, buckets_)),
        step_(model_, buckets_, optimizer_, {.world = *self_}, config.data.sources.size()),
        data_(config.data, config.model.vocab_size, [](std::int64_t step) { return step * kRows; }),
        guard_({}) {
    parameters_.initialize(3);
  }

  // The step of these samples. `broken`: one weight is no number meanwhile.
  StepResult run(std::int64_t first_sample, bool broken = false) {
    std::vector<Batch> batches;
    for (int i = 0; i < 2; ++i) {
      batches.emplace_back(kRows / 2, config_.data.sequence_length);
      data_.fill_batch(first_sample + i * kRows / 2, batches.back());
    }
    double& weight =
        parameters_.at("model.layers.1.input_layernorm.weight").value.data<double>()[0];
    const double whole = weight;
    if (broken) weight = std::numeric_limits<double>::quiet_NaN();
    const UpdateOptions options{.lr = 0.01, .update = updates_ + 1};
    StepResult result = step_.run({Stream{}, arena_}, batches, options, guard_, timer_);
    if (broken) weight = whole;
    if (result.skipped.empty()) ++updates_;
    return result;
  }

  // A step whose second micro-batch has a token that there is none of.
  void run_into_error() {
    std::vector<Batch> batches;
    for (int i = 0; i < 2; ++i) {
      batches.emplace_back(kRows / 2, config_.data.sequence_length);
      data_.fill_batch(i * kRows / 2, batches.back());
    }
    batches.back().tokens.tensor.data<std::int32_t>()[3] = 1000;
    step_.run({Stream{}, arena_}, batches, {.lr = 0.01}, guard_, timer_);
  }
  PhaseTimer& timer() { return timer_; }

  std::vector<std::byte> state() const {
    std::vector<std::byte> all;
    const auto append = [&](const Tensor& tensor) {
      const std::vector<std::byte> bytes = test::bytes_of(tensor);
      all.insert(all.end(), bytes.begin(), bytes.end());
    };
    for (const OptimizerPiece& piece : optimizer_.pieces()) {
      append(piece.value);
      for (const OptimizerState& state : piece.states) append(state.tensor);
    }
    return all;
  }

 private:
  static constexpr std::int64_t kRows = 4;

  RunConfig config_;
  std::unique_ptr<Communicator> self_ = make_self_communicator();
  Arena arena_;
  ParameterStore parameters_;
  StagedModel model_;
  GradientBuckets buckets_;
  Optimizer optimizer_;
  TrainStep step_;
  DataLoader data_;
  LossGuard guard_;
  PhaseTimer timer_;
  std::int64_t updates_ = 0;
};

class AfterSkipTest : public ::testing::Test {
 protected:
  void SetUp() override { test::write_tiny_data(folder_.path()); }

  // From the third step on every step is skipped whose loss or norm is above the mean of two.
  RunConfig config(const std::string& name) const {
    RunConfig config = test::tiny_run(folder_.path(), folder_.path() / name);
    config.precision.compute = ComputePrecision::fp64;
    config.device = WantedDevice::cpu;
    config.schedule.name = ScheduleName::constant;
    config.optimizer.lr = 0.01;
    config.optimizer.weight_decay = 0;
    config.train.skip.spike_sigmas = 1e-3;
    config.train.skip.window = 2;
    config.train.skip.max_consecutive_skips = 1000;
    config.checkpoint.keep_last = 100;
    return config;
  }

  static RunState state_of(const fs::path& checkpoint) {
    return parse_run_state(CheckpointReader(checkpoint).trainer_json(), "trainer.json");
  }
  fs::path checkpoint(const std::string& name, StepName step) const {
    return folder_.path() / name / "checkpoints" / step_folder_name(step);
  }

  // Adam's first update moves an element by lr g / (|g| + eps): lr, where |g| is 1e3 eps and more.
  // Any other count of updates gives another number.
  static void expect_first_update(const CheckpointReader& before, const ParameterStore& after,
                                  const std::string& name) {
    const Tensor& value = after.at(name).value;
    const OwnedTensor old(DType::f64, value.shape());
    before.read_parameter(name, old.tensor);
    double largest = 0;
    for (std::int64_t i = 0; i < value.elements(); ++i) {
      const double moved = std::abs(value.data<double>()[i] - old.tensor.data<double>()[i]);
      largest = std::max(largest, moved);
    }
    EXPECT_NEAR(largest, 0.01, 0.01 * 1e-3) << name;
  }

  // Trains one update more than the checkpoint of the run has seen.
  void expect_first_update_of(const RunConfig& run, const fs::path& from, const std::string& name) {
    const CheckpointReader before(from);
    const std::int64_t updates = state_of(from).updates;
    ASSERT_LT(updates, before.step());  // some were skipped
    RunConfig next = run;
    next.train.skip.spike_sigmas = 0;
    next.train.steps = before.step() + 1;
    Trainer trainer(next, *self_);
    test::train(trainer, true);
    ASSERT_EQ(trainer.state().updates, updates + 1);
    expect_first_update(before, trainer.parameters(), name);
  }

  const test::TemporaryFolder folder_;
  std::unique_ptr<Communicator> self_ = make_self_communicator();
};

// The time after a step that failed is no pass's: nothing of it is left that knows the timer.
TEST_F(AfterSkipTest, AnErrorEndsTheStepsPhases) {
  Steps steps(config("error"));
  EXPECT_THROW(steps.run_into_error(), OpError);
  steps.timer().take();
  const PhaseSeconds seconds = steps.timer().take();
  EXPECT_GT(seconds[static_cast<std::size_t>(Phase::other)], 0);
  EXPECT_EQ(seconds[static_cast<std::size_t>(Phase::forward)], 0);
  EXPECT_EQ(seconds[static_cast<std::size_t>(Phase::backward)], 0);
}

TEST_F(AfterSkipTest, ABatchThatIsNotFiniteLeavesNothing) {
  Steps plain(config("plain"));
  Steps broken(config("broken"));
  for (std::int64_t step = 0; step < 4; ++step) {
    if (step == 2) {
      const std::vector<std::byte> before = broken.state();
      EXPECT_NE(broken.run(100, true).skipped.find("nan"), std::string::npos);
      EXPECT_EQ(broken.state(), before);
    }
    const StepResult expected = plain.run(4 * step);
    const StepResult found = broken.run(4 * step);
    EXPECT_EQ(found.skipped, "");
    EXPECT_EQ(found.loss, expected.loss) << step;
    EXPECT_EQ(found.gradient_norm, expected.gradient_norm) << step;
  }
  EXPECT_EQ(broken.state(), plain.state());
}

// New layers' moments begin at zero with the number of updates that were done, not of steps.
TEST_F(AfterSkipTest, GrowthCountsUpdates) {
  RunConfig run = config("grown");
  run.train.steps = 12;
  run.growth.stages.resize(1);
  run.growth.stages[0].step = 9;
  run.growth.stages[0].plan = GrowthPlan{};
  run.growth.stages[0].plan->steps.push_back({Depth{.every = 2}});
  {
    Trainer trainer(run, *self_);
    test::train(trainer);
  }
  const fs::path grown = checkpoint("grown", {.step = 9, .grown = true});
  const CheckpointReader reader(grown);
  const std::int64_t updates = state_of(grown).updates;
  ASSERT_FALSE(reader.growth().origins.empty());
  for (const UpdateOrigin& origin : reader.growth().origins) {
    for (const AxisRun& part : origin.rows) EXPECT_EQ(part.value, updates) << origin.name;
  }
  fs::remove_all(checkpoint("grown", {.step = 12}));
  // A new layer begins with an output projection of zeros, the first to have gradients.
  const std::string& added = reader.growth().added.front();
  const std::string layer = added.substr(0, added.find('.', std::string("model.layers.").size()));
  expect_first_update_of(run, grown, layer + ".self_attn.o_proj.weight");
}

TEST_F(AfterSkipTest, UnfreezingCountsUpdates) {
  RunConfig run = config("frozen");
  run.train.steps = 9;
  run.train.trainable = {.word = "", .list = {"model.layers.1.*"}};
  {
    Trainer trainer(run, *self_);
    test::train(trainer);
  }
  run.train.trainable = {.word = "all", .list = {}};
  expect_first_update_of(run, checkpoint("frozen", {.step = 9}), "model.norm.weight");
}

}  // namespace
}  // namespace gda
