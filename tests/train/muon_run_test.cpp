// Runs whose layers Muon trains, with QK-clip: resumed, grown, and taken over from AdamW and back.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "gda/growth/grow_checkpoint.h"
#include "gda/growth/signal_heads.h"
#include "gda/train/trainer.h"
#include "support/temporary_folder.h"
#include "support/tiny_run.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

bool has_momentum(const ParameterSpec& spec) {
  return spec.layer >= 0 && spec.is_matrix();
}

class MuonRunTest : public ::testing::Test {
 protected:
  void SetUp() override { test::write_tiny_data(root_ / "data"); }

  RunConfig config(const std::string& name, const std::string& optimizer,
                   std::int64_t steps) const {
    RunConfig config = test::tiny_run(root_ / "data", root_ / name);
    config.optimizer.name = from_word<OptimizerName>(optimizer).value();
    config.optimizer.qk_clip = QkClipConfig{.threshold = 0.05, .every_steps = 2};
    config.schedule.steps = 20;
    config.train.steps = steps;
    return config;
  }
  using Bits = std::map<std::string, std::vector<std::byte>>;
  struct End {
    Bits bits;
    GrowthState growth;
  };
  End run(const RunConfig& config, bool resume = false) {
    Trainer trainer(config, *self_);
    test::train(trainer, resume);
    End end{.bits = {}, .growth = trainer.growth()};
    for (const Parameter& parameter : trainer.parameters().all()) {
      end.bits[parameter.spec.name] = test::bytes_of(parameter.value);
    }
    return end;
  }
  CheckpointReader checkpoint(const std::string& name, std::int64_t step) const {
    return CheckpointReader(root_ / name / "checkpoints" / step_folder_name({.step = step}));
  }

  const test::TemporaryFolder folder_;
  const fs::path root_ = folder_.path();
  std::unique_ptr<Communicator> self_ = make_self_communicator();
};

TEST_F(MuonRunTest, ResumingChangesNothing) {
  const End whole = run(config("whole", "muon", 9));
  run(config("half", "muon", 5));
  EXPECT_EQ(run(config("half", "muon", 9), true).bits, whole.bits);
}

// What the checkpoint has no states of begins with zeros and counts from there: the matrices of
// layers, in both directions.
TEST_F(MuonRunTest, AnotherOptimizerGoesOn) {
  for (const auto& [first, second] :
       {std::pair<std::string, std::string>{"adamw", "muon"}, {"muon", "adamw"}}) {
    const End before = run(config(first, first, 5));
    EXPECT_TRUE(before.growth.empty());
    const End end = run(config(first, second, 6), true);
    std::map<std::string, UpdateOrigin> origins;
    for (const UpdateOrigin& origin : end.growth.origins) origins.emplace(origin.name, origin);
    const CheckpointReader reader = checkpoint(first, 6);
    for (const ParameterSpec& spec : parameter_specs(reader.config())) {
      const bool is_muons = has_momentum(spec) && second == "muon";
      EXPECT_EQ(reader.has_state("momentum", spec.name), is_muons) << spec.name;
      EXPECT_EQ(reader.has_state("exp_avg", spec.name), !is_muons) << spec.name;
      EXPECT_EQ(reader.has_state("exp_avg_sq", spec.name), !is_muons) << spec.name;
      ASSERT_EQ(origins.contains(spec.name), has_momentum(spec)) << spec.name;
      EXPECT_NE(end.bits.at(spec.name), before.bits.at(spec.name)) << spec.name;
      if (!has_momentum(spec)) continue;
      ASSERT_EQ(origins.at(spec.name).rows.size(), 1U);
      EXPECT_EQ(origins.at(spec.name).rows[0].value, 5);
    }
  }
}

// Momentum is a sum of gradients: copies of a head have what the map says of its gradient, and a
// run goes on from there.
TEST_F(MuonRunTest, GrowthCarriesMomentumAsTheGradient) {
  run(config("run", "muon", 5));
  const CheckpointReader from = checkpoint("run", 5);
  const GrowthMap map = SignalHeads{.factor = 2}.map(from.config());
  RunConfig on = config("grown", "muon", 7);
  on.model = map.to;
  const GrownRun grown{.updates = 5, .run_config = on.yaml(), .trainer_json = from.trainer_json()};
  grow_checkpoint(*self_, from, map, grown, {.directory = root_ / "grown" / "checkpoints"});
  const CheckpointReader to = checkpoint("grown", 5);
  for (const TensorMap& tensor : map.tensors) {
    EXPECT_EQ(to.has_state("momentum", tensor.target.name), has_momentum(tensor.target));
    if (!has_momentum(tensor.target)) continue;
    const auto read = [](const CheckpointReader& reader, const std::string& name,
                         const Shape& shape) {
      std::vector<float> all(static_cast<std::size_t>(shape.elements()));
      reader.read_piece("momentum", name, 0, Tensor(all.data(), DType::f32, {shape.elements()}));
      return all;
    };
    const std::vector<float> old = read(from, tensor.source, tensor.source_shape);
    std::vector<float> expected(static_cast<std::size_t>(tensor.target.shape.elements()));
    apply(tensor, CarriedState::first_moment, 1, std::span<const float>(old), std::span(expected));
    EXPECT_EQ(read(to, tensor.target.name, tensor.target.shape), expected) << tensor.target.name;
    EXPECT_NE(expected, std::vector<float>(expected.size())) << tensor.target.name;
  }
  run(on, true);
}

}  // namespace
}  // namespace gda
