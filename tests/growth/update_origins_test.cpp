#include "growth/update_origins.h"

#include <gtest/gtest.h>

#include "growth/grown_model.h"

namespace gda::test {
namespace {

using Runs = std::vector<AxisRun>;

const UpdateOrigin* find(const std::vector<UpdateOrigin>& origins, const std::string& name) {
  for (const UpdateOrigin& origin : origins) {
    if (origin.name == name) return &origin;
  }
  return nullptr;
}

const std::string kGate = "model.layers.0.mlp.gate_proj.weight";
const std::string kNorm = "model.layers.0.input_layernorm.weight";

TEST(UpdateOrigins, CopiesKeepTheirs) {
  const ModelConfig config = tiny_config("softmax");
  EXPECT_TRUE(carry_origins(map_of(Width{.hidden_factor = 2}, config), {}, 50).empty());
  const std::vector<UpdateOrigin> old = {
      {.name = kGate, .rows = {{15, 0}, {5, 30}}, .columns = {}}};
  const auto carried = carry_origins(map_of(Width{.feed_forward_factor = 2}, config), old, 50);
  ASSERT_EQ(carried.size(), 1U);
  EXPECT_EQ(carried[0].rows, (Runs{{15, 0}, {5, 30}, {15, 0}, {5, 30}}));
  EXPECT_TRUE(carried[0].columns.empty());
}

TEST(UpdateOrigins, NewCoordinatesBeginNow) {
  const GrowthMap map =
      map_of(ZeroPad{.hidden_size = 15, .intermediate_size = 23}, tiny_config("softmax"));
  const std::vector<UpdateOrigin> old = {{.name = kGate, .rows = {}, .columns = {{11, 0}, {1, 7}}}};
  const auto carried = carry_origins(map, old, 50);
  const UpdateOrigin* gate = find(carried, kGate);
  ASSERT_NE(gate, nullptr);
  EXPECT_EQ(gate->rows, (Runs{{20, 0}, {3, 50}}));
  EXPECT_EQ(gate->columns, (Runs{{11, 0}, {1, 7}, {3, 50}}));
  const UpdateOrigin* norm = find(carried, kNorm);
  ASSERT_NE(norm, nullptr);
  EXPECT_EQ(norm->rows, (Runs{{12, 0}, {3, 50}}));
  EXPECT_TRUE(norm->columns.empty());
  // What has not grown has no entry.
  EXPECT_EQ(find(carry_origins(map_of(ZeroPad{.heads = 6}, tiny_config("softmax")), {}, 50), kGate),
            nullptr);
}

TEST(UpdateOrigins, FollowTheirLayerThroughAPlan) {
  GrowthPlan plan;
  Depth depth;
  depth.at = {0};
  plan.steps = {{depth}, {ZeroPad{.intermediate_size = 23}}};
  const GrowthMap map = plan.map(tiny_config("softmax"));
  const auto carried = carry_origins(map, {{.name = kNorm, .rows = {{12, 9}}, .columns = {}}}, 50);
  // The new layer at the bottom; the old first layer lies above it.
  EXPECT_EQ(find(carried, kNorm)->rows, (Runs{{12, 50}}));
  EXPECT_EQ(find(carried, "model.layers.1.input_layernorm.weight")->rows, (Runs{{12, 9}}));
  EXPECT_EQ(find(carried, kGate)->rows, (Runs{{23, 50}}));
  EXPECT_EQ(find(carried, "model.layers.1.mlp.gate_proj.weight")->rows, (Runs{{20, 0}, {3, 50}}));
}

TEST(UpdateOrigins, OfNewTensors) {
  Masked masked;
  masked.at = {2};
  const auto carried = carry_origins(map_of(masked, tiny_config("softmax")), {}, 50);
  EXPECT_EQ(find(carried, "model.layers.2.mlp.gate_proj.weight")->rows, (Runs{{20, 50}}));
  EXPECT_EQ(find(carried, "model.layers.1.mlp.gate_proj.weight"), nullptr);
}

}  // namespace
}  // namespace gda::test
