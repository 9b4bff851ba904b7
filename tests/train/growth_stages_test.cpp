// Models that grow while a run trains.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "gda/core/error.h"
#include "gda/train/trainer.h"
#include "support/temporary_folder.h"
#include "support/tiny_run.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

GrowthPlan plan_of(const std::vector<GrowthOperator>& operators) {
  GrowthPlan plan;
  for (const GrowthOperator& operation : operators) plan.steps.push_back({operation});
  return plan;
}

class GrowthStagesTest : public ::testing::Test {
 protected:
  void SetUp() override { test::write_tiny_data(folder_.path()); }

  // Signal heads and depth at step 4, with a larger batch; masked layers from step 8 to 11.
  RunConfig staged(const std::string& name) const {
    RunConfig config = test::tiny_run(folder_.path(), folder_.path() / name);
    config.train.steps = 14;
    config.logging.every_steps = 1;
    config.checkpoint.every_steps = 1;
    config.checkpoint.keep_last = 100;
    config.growth.stages.resize(2);
    config.growth.stages[0].step = 4;
    config.growth.stages[0].plan = plan_of({SignalHeads{.factor = 2}, Depth{.every = 1}});
    config.growth.stages[0].global_batch_size = 24;
    config.growth.stages[0].rewarm_steps = 2;
    config.growth.stages[1].step = 8;
    Masked masked;
    masked.layers = 2 * config.model.num_hidden_layers + 1;
    masked.ramp_steps = 3;
    config.growth.stages[1].plan = plan_of({masked});
    config.growth.stages[1].learning_rate = StageRate::rewind;
    return config;
  }

  struct End {
    std::vector<std::byte> bytes;
    double loss = 0;
    bool operator==(const End&) const = default;
  };

  static End run(const RunConfig& config, bool resume) {
    config.validate();
    const auto self = make_self_communicator();
    Trainer trainer(config, *self);
    test::train(trainer, resume);
    End end;
    const auto append = [&](const Tensor& tensor) {
      const std::vector<std::byte> bytes = test::bytes_of(tensor);
      end.bytes.insert(end.bytes.end(), bytes.begin(), bytes.end());
    };
    for (const Bucket& bucket : trainer.parameters().buckets()) append(bucket.values);
    for (const OptimizerPiece& piece : trainer.optimizer().pieces()) {
      for (const OptimizerState& state : piece.states) append(state.tensor);
    }
    end.loss = trainer.last_step().loss;
    EXPECT_EQ(trainer.state().stages_done, static_cast<std::int64_t>(config.growth.stages.size()));
    return end;
  }

  static fs::path checkpoint(const RunConfig& config, StepName name) {
    return fs::path(config.run_dir) / "checkpoints" / step_folder_name(name);
  }

  static std::vector<float> numbers(const CheckpointReader& reader, const std::string& name,
                                    const Shape& shape) {
    const OwnedTensor tensor(DType::f32, shape);
    reader.read_parameter(name, tensor.tensor);
    return {tensor.tensor.data<float>(), tensor.tensor.data<float>() + shape.elements()};
  }

  static std::vector<Json> metrics(const RunConfig& config) {
    std::vector<Json> lines;
    std::ifstream stream(fs::path(config.run_dir) / "metrics.jsonl");
    for (std::string line; std::getline(stream, line);) lines.push_back(Json::parse(line));
    return lines;
  }

  static std::string resume_error(const RunConfig& config) {
    try {
      run(config, true);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "(no error)";
  }

  test::TemporaryFolder folder_;
};

TEST_F(GrowthStagesTest, GrowAtTheirStepsAndAreReported) {
  const RunConfig config = staged("a");
  run(config, false);
  std::int64_t growths = 0;
  std::int64_t tokens = 0;
  double flops = 0;
  for (const Json& line : metrics(config)) {
    const auto step = line["step"].get<std::int64_t>();
    if (line.contains("growth")) {
      const Json& growth = line["growth"];
      EXPECT_EQ(growth["stage"], ++growths);
      EXPECT_EQ(step, growths == 1 ? 4 : 8);
      EXPECT_GT(growth["parameters"], growth["parameters_before"]);
      // f32: a mean over 16 tokens of logits that agree to 1e-5.
      EXPECT_NEAR(growth["loss"].get<double>(), growth["loss_before"].get<double>(), 1e-5);
      continue;
    }
    EXPECT_EQ(line["stage"], growths);
    tokens += (step <= 4 ? 12 : 24) * 16;
    EXPECT_EQ(line["tokens"], tokens);
    EXPECT_EQ(line["mask"].is_null(), step <= 8 || step > 11) << step;
    EXPECT_GT(line["flops"].get<double>(), flops);
    flops = line["flops"];
    EXPECT_EQ(line["parameters"], line["trainable_parameters"]);
  }
  EXPECT_EQ(growths, 2);
  // Before and after each growth; the model's own configuration with each.
  const std::int64_t layers = config.model.num_hidden_layers;
  for (const std::int64_t step : {4, 8}) {
    const CheckpointReader before(checkpoint(config, {.step = step}));
    const CheckpointReader after(checkpoint(config, {.step = step, .grown = true}));
    EXPECT_EQ(before.config().num_hidden_layers, step == 4 ? layers : 2 * layers);
    EXPECT_EQ(after.config().num_hidden_layers, step == 4 ? 2 * layers : 2 * layers + 1);
  }
  EXPECT_FALSE(CheckpointReader(checkpoint(config, {.step = 14})).growth().ramp.has_value());
}

// Stopped before, at, right after and between growths and within a ramp: the same bits.
TEST_F(GrowthStagesTest, ResumingAnywhereChangesNothing) {
  const End expected = run(staged("whole"), false);
  const RunConfig config = staged("cut");
  run(config, false);
  for (const StepName last : {StepName{9}, StepName{8, true}, StepName{8}, StepName{6},
                              StepName{4, true}, StepName{4}, StepName{3}}) {
    for (const StepFolder& folder : list_step_folders(fs::path(config.run_dir) / "checkpoints")) {
      if (folder.name > last) fs::remove_all(folder.path);
    }
    EXPECT_EQ(run(config, true), expected) << step_folder_name(last);
  }
}

// A kill while the grown checkpoint is written leaves a folder that is not whole.
TEST_F(GrowthStagesTest, AHalfWrittenGrowthIsDoneAgain) {
  const End expected = run(staged("whole"), false);
  const RunConfig config = staged("killed");
  run(config, false);
  const fs::path grown = checkpoint(config, {.step = 4, .grown = true});
  for (const StepFolder& folder : list_step_folders(fs::path(config.run_dir) / "checkpoints")) {
    if (folder.name > StepName{4, true}) fs::remove_all(folder.path);
  }
  fs::rename(grown, grown.string() + ".tmp");
  fs::remove(fs::path(grown.string() + ".tmp") / "manifest.json");
  EXPECT_EQ(run(config, true), expected);
  EXPECT_FALSE(fs::exists(grown.string() + ".tmp"));
}

// What a growth adds is drawn with the seed of its own stage.
TEST_F(GrowthStagesTest, EachDrawsWithItsSeed) {
  RunConfig config = staged("seeds");
  config.train.steps = 6;
  std::int64_t number = 0;
  for (GrowthStageConfig& stage : config.growth.stages) {
    ++number;
    Masked masked;
    masked.layers = config.model.num_hidden_layers + number;
    masked.ramp_steps = 1;
    stage = {};
    stage.step = 2 * number;
    stage.plan = plan_of({masked});
    stage.seed = 4 + number;
  }
  run(config, false);
  for (const GrowthStageConfig& stage : config.growth.stages) {
    const CheckpointReader before(checkpoint(config, {.step = *stage.step}));
    const CheckpointReader after(checkpoint(config, {.step = *stage.step, .grown = true}));
    std::int64_t drawn = 0;
    for (const TensorMap& tensor : stage.plan->map(before.config()).tensors) {
      std::vector<float> source;
      if (!tensor.source.empty()) source = numbers(before, tensor.source, tensor.source_shape);
      const auto grown = [&](std::int64_t seed) {
        std::vector<float> target(static_cast<std::size_t>(tensor.target.shape.elements()));
        apply(tensor, CarriedState::value, static_cast<std::uint64_t>(seed), source, target);
        return target;
      };
      EXPECT_EQ(numbers(after, tensor.target.name, tensor.target.shape), grown(stage.seed))
          << "stage at step " << *stage.step << ": " << tensor.target.name;
      drawn += grown(stage.seed) != grown(stage.seed + 1) ? 1 : 0;
    }
    EXPECT_GT(drawn, 0);
  }
}

TEST_F(GrowthStagesTest, NewLayersAloneAreTrained) {
  RunConfig config = staged("frozen");
  config.growth.stages.resize(1);
  config.growth.stages[0].plan = plan_of({Depth{.every = 1}});
  config.growth.stages[0].trainable.word = "new";
  run(config, false);
  const CheckpointReader before(checkpoint(config, {.step = 4, .grown = true}));
  const CheckpointReader after(checkpoint(config, {.step = 14}));
  for (const ParameterSpec& spec : parameter_specs(after.config())) {
    const OwnedTensor x(DType::f32, spec.shape);
    const OwnedTensor y(DType::f32, spec.shape);
    before.read_parameter(spec.name, x.tensor);
    after.read_parameter(spec.name, y.tensor);
    // Every second layer is new.
    const bool is_new = spec.layer >= 0 && spec.layer % 2 == 1;
    EXPECT_EQ(std::memcmp(x.tensor.raw(), y.tensor.raw(), x.tensor.bytes()) == 0, !is_new)
        << spec.name;
  }
  const Json last = metrics(config).back();
  EXPECT_LT(last["trainable_parameters"], last["parameters"]);
}

TEST_F(GrowthStagesTest, ResumingWithOtherStagesIsRefused) {
  const RunConfig config = staged("a");
  run(config, false);
  RunConfig fewer = config;
  fewer.growth.stages.resize(1);
  EXPECT_EQ(resume_error(fewer),
            "growth.stages: 1 listed, but " + checkpoint(config, {.step = 14}).string() +
                " has done 2; the stages that are done must stay in the configuration");
  RunConfig more = config;
  more.train.steps = 20;
  more.growth.stages.push_back(config.growth.stages[0]);
  more.growth.stages[2].step = 13;
  EXPECT_EQ(resume_error(more), "growth.stages: stage 3 begins at step 13, but " +
                                    checkpoint(config, {.step = 14}).string() +
                                    " is at step 14 without it; give a later step");
}

}  // namespace
}  // namespace gda
