// A growth mask that rises while a run trains.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "gda/core/error.h"
#include "gda/eval/loss.h"
#include "gda/train/trainer.h"
#include "support/ramp_run.h"
#include "support/temporary_folder.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::int64_t kFirst = 2;
constexpr std::int64_t kLength = 8;

class GrowthRampTest : public ::testing::Test {
 protected:
  void SetUp() override { test::write_tiny_data(folder_.path()); }

  // A run that stands at the beginning of its ramp.
  RunConfig grown(const std::string& name) const {
    RunConfig config = test::tiny_run(folder_.path(), folder_.path() / name);
    config.train.steps = 14;
    config.logging.every_steps = 1;
    const auto self = make_self_communicator();
    test::write_ramp_checkpoint(*self, config, test::tiny_ramp(kFirst, kLength), kFirst);
    return config;
  }

  static fs::path checkpoint(const RunConfig& config, std::int64_t step) {
    return fs::path(config.run_dir) / "checkpoints" / step_folder_name({step});
  }

  struct End {
    std::vector<std::byte> bytes;
    double loss = 0;
    bool operator==(const End&) const = default;
  };

  static End resume(const RunConfig& config) {
    const auto self = make_self_communicator();
    Trainer trainer(config, *self);
    test::train(trainer, true);
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
    return end;
  }

  static std::vector<Json> metrics(const RunConfig& config) {
    std::vector<Json> lines;
    std::ifstream stream(fs::path(config.run_dir) / "metrics.jsonl");
    for (std::string line; std::getline(stream, line);) lines.push_back(Json::parse(line));
    return lines;
  }

  test::TemporaryFolder folder_;
};

TEST_F(GrowthRampTest, RisesWithTheStepsAndIsDropped) {
  RunConfig config = grown("a");
  config.checkpoint.every_steps = 1;
  config.checkpoint.keep_last = 20;
  resume(config);
  std::int64_t lines = 0;
  for (const Json& line : metrics(config)) {
    const auto step = line["step"].get<std::int64_t>();
    const std::int64_t done = step - 1 - kFirst;  // at the beginning of the step
    if (done < kLength) {
      EXPECT_EQ(line["mask"], static_cast<double>(done) / kLength) << step;
    } else {
      EXPECT_TRUE(line["mask"].is_null()) << step;
    }
    ++lines;
  }
  EXPECT_EQ(lines, 12);
  for (std::int64_t step = kFirst + 1; step <= config.train.steps; ++step) {
    const CheckpointReader reader(checkpoint(config, step));
    EXPECT_EQ(reader.growth().ramp.has_value(), step < kFirst + kLength) << step;
    EXPECT_EQ(fs::exists(reader.path() / "growth.json"), step < kFirst + kLength) << step;
  }
}

// At m = 0 the new weights have no gradient, so their first update moves nothing but by decay, of
// which vectors have none.
TEST_F(GrowthRampTest, TheFirstStepLeavesNewWeights) {
  RunConfig config = grown("a");
  config.train.steps = kFirst + 1;
  config.optimizer.weight_decay = 0;
  resume(config);
  const CheckpointReader before(checkpoint(config, kFirst));
  const CheckpointReader after(checkpoint(config, kFirst + 1));
  const auto read = [](const CheckpointReader& reader, const char* name, Shape shape) {
    OwnedTensor tensor(DType::f32, shape);
    reader.read_parameter(name, tensor.tensor);
    return tensor;
  };
  const auto* old_norm = "model.norm.weight";
  const OwnedTensor x = read(before, old_norm, {12});
  const OwnedTensor y = read(after, old_norm, {12});
  for (std::int64_t j = 0; j < 12; ++j) {
    const bool moved = x.tensor.data<float>()[j] != y.tensor.data<float>()[j];
    EXPECT_EQ(moved, j < 8) << j;
  }
  const char* inner = "model.layers.1.mlp.up_proj.weight";
  const OwnedTensor a = read(before, inner, {20, 12});
  const OwnedTensor b = read(after, inner, {20, 12});
  EXPECT_EQ(std::memcmp(a.tensor.raw(), b.tensor.raw(), a.tensor.bytes()), 0);
}

TEST_F(GrowthRampTest, ResumingInTheMiddleChangesNothing) {
  const End expected = resume(grown("whole"));
  for (const std::int64_t step : {5, 10, 12}) {  // within the ramp, at its end, after it
    RunConfig half = grown("half-" + std::to_string(step));
    half.checkpoint.every_steps = step;
    EXPECT_EQ(resume(half), expected);
    fs::remove_all(checkpoint(half, 14));
    if (step == 5) fs::remove_all(checkpoint(half, 10));
    EXPECT_EQ(resume(half), expected) << step;
  }
}

TEST_F(GrowthRampTest, RecomputationIsBitEqual) {
  const End none = resume(grown("none"));
  for (const char* policy : {"selective", "full"}) {
    RunConfig again = grown(policy);
    again.train.recompute = from_word<Recompute>(policy).value();
    EXPECT_EQ(resume(again), none) << policy;
  }
}

// The evaluation after step 6 is that of its checkpoint at the mask of step 6.
TEST_F(GrowthRampTest, EvaluatesWithTheMaskOfTheStep) {
  RunConfig config = grown("a");
  config.train.steps = 6;
  config.eval.every_steps = 6;
  config.eval.steps = 1;
  resume(config);
  const CheckpointReader reader(checkpoint(config, 6));
  ParameterStore parameters(parameter_specs(config.model), DType::f32, 1, false);
  for (const Parameter& parameter : parameters.all()) {
    reader.read_parameter(parameter.spec.name, parameter.value);
  }
  Decoder decoder(config.model, parameters);
  decoder.set_growth(reader.growth().ramp->mask, 0.5);
  const DataLoader data(config.data, config.model.vocab_size,
                        [](std::int64_t step) { return step * 12; });
  Arena arena;
  const auto self = make_self_communicator();
  int found = 0;
  for (const EvaluationSet& set : data.validation()) {
    const double expected =
        evaluate_loss({Stream{}, arena}, decoder, set, *self, config.train.micro_batch_size,
                      config.train.global_batch_size)
            .loss;
    for (const Json& line : metrics(config)) {
      if (!line.contains("eval") || line["eval"]["name"] != set.name()) continue;
      EXPECT_EQ(line["eval"]["loss"], expected);
      ++found;
    }
  }
  EXPECT_EQ(found, 2);
}

TEST_F(GrowthRampTest, ANewRunCannotBeginFromIt) {
  RunConfig config = grown("a");
  config.train.steps = 6;
  resume(config);
  RunConfig next = test::tiny_run(folder_.path(), folder_.path() / "b");
  next.train.init_from = checkpoint(config, 6).string();
  const auto self = make_self_communicator();
  Trainer trainer(next, *self);
  try {
    trainer.begin();
    FAIL() << "expected ConfigError";
  } catch (const ConfigError& error) {
    EXPECT_EQ(
        error.what(),
        fmt::format("{}: growth is under way (mask 0.5 at step 6, 1 at step 10), and "
                    "train.init_from takes a finished model: resume it to step 10 first, with "
                    "`gda resume {}`",
                    next.train.init_from, config.run_dir));
  }
}

}  // namespace
}  // namespace gda
