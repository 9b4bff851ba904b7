// The state of growth (growth_state.h) that grown models are left with.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>

#include "checkpoint/thread_group.h"
#include "gda/growth/grow_checkpoint.h"
#include "growth/grown_model.h"
#include "growth/update_origins.h"
#include "support/temporary_folder.h"

namespace gda::test {
namespace {

namespace fs = std::filesystem;

using Runs = std::vector<AxisRun>;

TEST(GrownState, APlanAddsTheLayersOfAllItsSteps) {
  Depth first;
  first.at = {1};
  Depth second;
  second.at = {3};
  GrowthPlan plan;
  plan.steps = {{first}, {second}, {ZeroPad{.hidden_size = 15}}};
  const GrowthMap map = plan.map(tiny_config("softmax"));
  const auto count = [&](const std::string& prefix) {
    return std::count_if(map.added.begin(), map.added.end(),
                         [&](const std::string& name) { return name.starts_with(prefix); });
  };
  EXPECT_EQ(count("model.layers.1."), 9);
  EXPECT_EQ(count("model.layers.3."), 9);
  EXPECT_EQ(map.added.size(), 18U);
}

// Updates, not steps, are what is counted: some steps' updates may have been skipped.
TEST(GrownState, GrownCheckpointsBeginAtTheUpdatesDone) {
  const test::TemporaryFolder folder;
  const auto self = make_self_communicator();
  TinyModel model(tiny_config("softmax"), DType::f32);
  CheckpointContents contents;
  contents.step = 10;
  contents.model = model.config;
  for (const Parameter& parameter : model.parameters.all()) {
    contents.parameters.push_back(parameter_source(parameter.spec.name, parameter.value));
  }
  const CheckpointReader from(save_checkpoint(*self, {.directory = folder / "a"}, contents).path);
  Depth depth;
  depth.at = {2};
  const GrowthMap map = map_of(depth, model.config);
  const CheckpointReader grown(
      grow_checkpoint(*self, from, map,
                      {.seed = 1, .updates = 8, .trainer_json = from.trainer_json()},
                      {.directory = folder / "b"})
          .path);
  EXPECT_EQ(grown.growth().added, map.added);
  EXPECT_EQ(grown.growth().origins, carry_origins(map, {}, 8));
  ASSERT_FALSE(grown.growth().origins.empty());
  EXPECT_EQ(grown.growth().origins.front().rows, (Runs{{12, 8}}));
}

// Ranks share out what is read of the old checkpoint as they do what is written of the new one.
TEST(GrownState, RanksReadWhatTheyWrite) {
  const test::TemporaryFolder folder;
  const auto self = make_self_communicator();
  TinyModel model(tiny_config("softmax"), DType::f32);
  CheckpointContents contents;
  contents.step = 10;
  contents.model = model.config;
  for (const Parameter& parameter : model.parameters.all()) {
    ParameterSource& source =
        contents.parameters.emplace_back(parameter_source(parameter.spec.name, parameter.value));
    source.states = {"exp_avg"};
    contents.pieces.push_back(piece_of("exp_avg", parameter.spec.name, parameter.region, 0,
                                       parameter.value.reshape({parameter.value.elements()})));
  }
  const fs::path path = save_checkpoint(*self, {.directory = folder / "a"}, contents).path;
  ZeroPad pad;
  pad.intermediate_size = 24;
  const GrowthMap map = map_of(pad, model.config);
  const GrownRun run{.seed = 1, .updates = 8};
  const CheckpointReader alone(path);
  const CheckpointReader by_one(
      grow_checkpoint(*self, alone, map, run, {.directory = folder / "one"}).path);
  std::atomic<std::uint64_t> bytes{0};
  run_ranks(3, [&](Communicator& group) {
    const CheckpointReader from(path, Verification::everything, &group);
    grow_checkpoint(group, from, map, run, {.directory = folder / "three"});
    bytes += from.bytes_read();
  });
  EXPECT_EQ(bytes, alone.bytes_read());
  const CheckpointReader by_three(folder / "three" / step_folder_name({10}));
  for (const ParameterSpec& spec : parameter_specs(map.to)) {
    const OwnedTensor a(DType::f32, {spec.shape.elements()});
    const OwnedTensor b(DType::f32, {spec.shape.elements()});
    by_one.read_piece("exp_avg", spec.name, 0, a.tensor);
    by_three.read_piece("exp_avg", spec.name, 0, b.tensor);
    EXPECT_EQ(std::memcmp(a.tensor.raw(), b.tensor.raw(), a.tensor.bytes()), 0) << spec.name;
  }
}

}  // namespace
}  // namespace gda::test
