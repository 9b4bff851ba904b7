// The models that come out: configurations, masks, and what cannot be.
#include <gtest/gtest.h>

#include "gda/train/run_config.h"
#include "growth/grown_model.h"

namespace gda::test {
namespace {

Depth depth_at(std::vector<std::int64_t> at) {
  Depth depth;
  depth.at = std::move(at);
  return depth;
}

Masked masked_at(std::vector<std::int64_t> at) {
  Masked masked;
  masked.at = std::move(at);
  return masked;
}

// The old layer of each new one, by the source of its norm.
std::vector<std::string> sources(const GrowthMap& map) {
  std::vector<std::string> names;
  for (const TensorMap& tensor : map.tensors) {
    if (!tensor.target.name.ends_with("input_layernorm.weight")) continue;
    names.push_back(tensor.source.empty() ? "-" : tensor.source.substr(13, 1));
  }
  return names;
}

ModelConfig layers(std::int64_t count) {
  ModelConfig config = tiny_config("differential");
  config.num_hidden_layers = count;
  return config;
}

using Names = std::vector<std::string>;

TEST(DepthShape, PutsCopiesWhereItIsTold) {
  EXPECT_EQ(sources(map_of(Depth{.every = 2}, layers(4))), (Names{"0", "1", "1", "2", "3", "3"}));
  EXPECT_EQ(sources(map_of(Depth{.every = 2, .copies = 2}, layers(4))),
            (Names{"0", "1", "0", "1", "2", "3", "2", "3"}));
  Depth in_all;
  in_all.layers = 5;
  EXPECT_EQ(sources(map_of(in_all, layers(3))), (Names{"0", "0", "1", "2", "2"}));
  in_all.layers = 7;
  EXPECT_EQ(sources(map_of(in_all, layers(2))), (Names{"0", "1", "0", "0", "0", "1", "1"}));
  EXPECT_EQ(sources(map_of(depth_at({0, 1}), layers(3))), (Names{"0", "1", "0", "1", "2"}));
  EXPECT_EQ(sources(map_of(depth_at({4, 3}), layers(3))), (Names{"0", "1", "2", "1", "2"}));
}

// What `train.trainable: new` trains, also when other growths follow.
TEST(DepthShape, NamesTheParametersOfNewLayers) {
  const GrowthMap deep = map_of(depth_at({1}), layers(2));
  EXPECT_EQ(deep.added.size(), 14U);  // of a differential layer with silu
  for (const std::string& name : deep.added) EXPECT_TRUE(name.starts_with("model.layers.1."));
  EXPECT_EQ(compose(deep, map_of(Width{.hidden_factor = 2}, deep.to)).added, deep.added);
  EXPECT_EQ(compose(deep, map_of(depth_at({0}), deep.to)).added.size(), 28U);
  EXPECT_EQ(map_of(masked_at({1}), layers(2)).added, deep.added);
}

TEST(DepthShape, KeepsLambdaInitWithItsLayer) {
  const ModelConfig from = layers(3);
  const GrowthMap map = map_of(depth_at({1}), from);
  EXPECT_EQ(map.to.num_hidden_layers, 4);
  const std::vector<double> expected = {from.lambda_init_of(0), from.lambda_init_of(0),
                                        from.lambda_init_of(1), from.lambda_init_of(2)};
  EXPECT_EQ(map.to.lambda_init, expected);
  EXPECT_TRUE(map_of(depth_at({1}), tiny_config("softmax")).to.lambda_init.empty());
}

TEST(StackShape, RepeatsAllLayersOrEachInItsPlace) {
  const GrowthMap stacked = map_of(Stack{.factor = 2}, layers(2));
  EXPECT_EQ(sources(stacked), (Names{"0", "1", "0", "1"}));
  EXPECT_FALSE(stacked.preserving);
  EXPECT_EQ(stacked.to.lambda_init[2], stacked.from.lambda_init_of(0));
  EXPECT_EQ(sources(map_of(Stack{.factor = 2, .interpolate = true}, layers(2))),
            (Names{"0", "0", "1", "1"}));
}

TEST(SignalHeadShape, TurnsDifferentialIntoGrouped) {
  const ModelConfig from = tiny_config("differential");
  const GrowthMap map = map_of(SignalHeads{.factor = 3}, from);
  EXPECT_EQ(map.to.attention.type, AttentionType::grouped_differential);
  EXPECT_EQ(map.to.attention.signal_heads, 6);
  EXPECT_EQ(map.to.attention.noise_heads, from.attention.noise_heads);
  EXPECT_EQ(map.to.attention.num_key_value_heads, from.attention.num_key_value_heads);
  ASSERT_EQ(map.to.lambda_init.size(), 2U);
  EXPECT_EQ(map.to.lambda_init[1], from.lambda_init_of(1));
}

TEST(ZeroPadShape, NewHeadsLieBehindTheOldOnesOfTheirGroup) {
  // Four query heads of width 4 on two key heads become six: 2, 5 are new.
  const GrowthMap map = map_of(ZeroPad{.heads = 6}, tiny_config("softmax"));
  for (const TensorMap& tensor : map.tensors) {
    if (!tensor.target.name.ends_with("q_proj.weight")) continue;
    const std::vector<AxisMap::Run>& runs = tensor.steps.front().rows.runs;
    ASSERT_EQ(runs.size(), 4U);
    EXPECT_EQ(runs[0], (AxisMap::Run{.length = 8, .source = 0}));
    EXPECT_EQ(runs[1], (AxisMap::Run{.length = 4}));
    EXPECT_EQ(runs[2], (AxisMap::Run{.length = 8, .source = 8}));
  }
  // Whole groups bring their signal and noise heads.
  const GrowthMap groups =
      map_of(ZeroPad{.num_key_value_heads = 6}, tiny_config("grouped_differential"));
  EXPECT_EQ(groups.to.attention.noise_heads, 3);
  EXPECT_EQ(groups.to.attention.signal_heads, 9);
  EXPECT_EQ(
      map_of(ZeroPad{.num_key_value_heads = 6}, tiny_config("differential")).to.attention.type,
      AttentionType::differential);
}

GrowthMask only(std::vector<IndexRange> GrowthMask::*axis, std::vector<IndexRange> ranges) {
  GrowthMask mask;
  mask.*axis = std::move(ranges);
  return mask;
}

TEST(MaskedShape, MasksWhatIsNew) {
  const ModelConfig config = tiny_config("grouped_differential", "poly_norm");
  const auto mask_of = [&](const Masked& masked) {
    const GrowthMap map = map_of(masked, config);
    EXPECT_TRUE(map.ramp);
    EXPECT_TRUE(map.preserving);
    EXPECT_EQ(map.ramp->from, config);
    EXPECT_EQ(map.ramp->steps, masked.ramp_steps);
    EXPECT_EQ(map.to.rms_norm_eps, config.rms_norm_eps);
    return map.ramp->mask;
  };
  EXPECT_EQ(mask_of({.hidden_size = 17}), only(&GrowthMask::hidden, {{12, 17}}));
  EXPECT_EQ(mask_of({.intermediate_size = 21, .ramp_steps = 9}),
            only(&GrowthMask::feed_forward, {{20, 21}}));
  EXPECT_EQ(mask_of({.heads = 10}), only(&GrowthMask::heads, {{3, 5}, {8, 10}}));
  EXPECT_EQ(mask_of({.layers = 4}), only(&GrowthMask::layers, {{1, 2}, {3, 4}}));
  EXPECT_EQ(mask_of(masked_at({0, 1})), only(&GrowthMask::layers, {{0, 2}}));
}

TEST(MaskedShape, NewWeightsBeginByTheInitialisers) {
  const GrowthMap map = map_of(Masked{.hidden_size = 40}, tiny_config("softmax"));
  for (const TensorMap& tensor : map.tensors) {
    const TensorStep& step = tensor.steps.front();
    if (!step.has_filled()) continue;
    EXPECT_EQ(step.fill.stddev, tensor.target.init.stddev);
    EXPECT_EQ(step.fill.value, tensor.target.init.value);
  }
  EXPECT_EQ(sources(map_of(masked_at({1}), layers(2))), (Names{"0", "-", "1"}));
}

TEST(GrowthPlans, OfThePapersGiveTheirParameterCounts) {
  const std::filesystem::path configs = GDA_CONFIGS;
  const GrowthPlan motif = load_growth_plan(configs / "growth/motif-2-12.7b.yaml");
  const ModelConfig small = load_run_config(configs / "motif-2.6b.yaml", {}).model;
  ModelConfig big = load_run_config(configs / "motif-2-12.7b.yaml", {}).model;
  ModelConfig made = motif.map(small).to;
  EXPECT_EQ(parameter_count(made), 12'703'860'896);
  EXPECT_EQ(made.lambda_init.size(), 40U);
  made.lambda_init.clear();  // of the layers that they were trained with
  EXPECT_EQ(made, big);

  const GrowthPlan llama = load_growth_plan(configs / "growth/llama-3-motif-102b.yaml");
  ModelConfig seventy = load_run_config(configs / "llama-3-8b.yaml", {}).model;
  seventy.hidden_size = 8192;
  seventy.num_hidden_layers = 80;
  seventy.intermediate_size = 28672;
  seventy.attention.num_attention_heads = 64;
  EXPECT_EQ(parameter_count(seventy), 70'553'706'496);
  made = llama.map(seventy).to;
  EXPECT_EQ(parameter_count(made), 102'022'456'320);
  EXPECT_EQ(made.attention.num_key_value_heads, 8);
}

void refuses(const GrowthOperator& operation, const ModelConfig& config, const std::string& text) {
  expect_config_error([&] { map_of(operation, config); }, text);
}

TEST(Refused, Options) {
  const ModelConfig config = tiny_config("differential");
  refuses(SignalHeads{.factor = 1}, config, "factor: must be at least 2, got 1");
  refuses(SignalHeads{.add = 0}, config, "add: must be at least 1, got 0");
  const std::string either =
      "factor: give either factor (replicate every signal head) or add (new heads for each noise "
      "head)";
  refuses(SignalHeads{}, config, either);
  refuses(SignalHeads{.factor = 2, .add = 1}, config, either);
  refuses(Width{}, config,
          "hidden_factor: nothing grows; give hidden_factor or feed_forward_factor, 2 or more");
  refuses(Width{.hidden_factor = 0}, config, "hidden_factor: must be at least 1, got 0");
  refuses(Width{.feed_forward_factor = 2, .heads = WidthHeads::multiply}, config,
          "heads: multiply, but hidden_factor is 1; heads multiply with the residual stream");
  refuses(ZeroPad{}, config, "hidden_size: nothing grows; give at least one size");
  refuses(Depth{}, config,
          "every: give one of every (behind each group of layers), layers (how many in all) and "
          "at (the places)");
  refuses(Stack{.factor = 1}, config, "factor: must be at least 2, got 1");
  refuses(Masked{}, config,
          "hidden_size: nothing grows; give one of hidden_size, intermediate_size, heads, layers "
          "and at");
  refuses(Masked{.hidden_size = 16, .heads = 8}, config,
          "hidden_size: more than one dimension is given; a mask fades in one at a time (new "
          "weights of two would meet in products that fade in as the mask's square): grow the "
          "others after this ramp has ended");
  refuses(Masked{.hidden_size = 16, .ramp_steps = 0}, config,
          "ramp_steps: must be at least 1, got 0");
}

TEST(Refused, SizesThatShrinkOrDoNotDivide) {
  const ModelConfig grouped = tiny_config("grouped_differential");
  refuses(ZeroPad{.hidden_size = 11}, grouped,
          "hidden_size: 11 is less than the model's 12; growth cannot shrink a model");
  refuses(Masked{.intermediate_size = 19}, grouped,
          "intermediate_size: 19 is less than the model's 20; growth cannot shrink a model");
  refuses(ZeroPad{.hidden_size = 12}, grouped, "nothing grows: every size is the model's own");
  refuses(ZeroPad{.heads = 7}, grouped,
          "heads: 7 do not divide over 2 noise heads, which new heads join one each: a multiple of "
          "2 is needed, such as 8");
  refuses(Masked{.heads = 7}, tiny_config("softmax"),
          "heads: 7 do not divide over 2 key-value heads, which new heads join one each: a "
          "multiple of 2 "
          "is needed, such as 8");
  refuses(ZeroPad{.num_key_value_heads = 5}, grouped,
          "num_key_value_heads: 5 is odd; it counts one signal and one noise head a group");
  refuses(ZeroPad{.heads = 8, .num_key_value_heads = 8}, grouped,
          "heads: 8 over 4 noise heads leave 2 for each, fewer than the model's 3; at least 12 are "
          "needed");
  Depth depth{.every = 2};
  refuses(depth, layers(3),
          "every: 2 does not divide the model's 3 layers; give a divisor, or layers (how many in "
          "all, spread evenly), or at (the places)");
  refuses(Depth{.every = 1, .copies = 2}, layers(3), "copies: 2 of the top layers of groups of 1");
  depth = {};
  depth.layers = 3;
  refuses(depth, layers(3),
          "layers: 3 in all, and the model has 3 already; growth cannot shrink a model");
}

TEST(Refused, Places) {
  refuses(depth_at({4}), layers(3),
          "at: 4 is out of range; 3 layers and 1 new one have places 0 to 3");
  refuses(depth_at({-1}), layers(3),
          "at: -1 is out of range; 3 layers and 1 new one have places 0 to 3");
  refuses(depth_at({1, 1}), layers(3), "at: 1 is given twice");
  refuses(masked_at({2, 9}), layers(3),
          "at: 9 is out of range; 3 layers and 2 new ones have places 0 to 4");
}

TEST(Refused, OtherModels) {
  refuses(SignalHeads{.factor = 2}, tiny_config("softmax"),
          "the model's attention is of type softmax, which has no signal heads; expected "
          "differential or grouped_differential");
  refuses(SignalHeads{.factor = 2}, tiny_config("differential_v2"),
          "the model's attention is of type differential_v2, which has no signal heads; expected "
          "differential or grouped_differential");
  refuses(Untie{}, tiny_config("softmax"),
          "the model's output projection is its own already (tie_word_embeddings is false)");
}

TEST(Refused, PlansForOtherModels) {
  GrowthPlan plan;
  plan.steps = {{Width{.hidden_factor = 2}}};
  plan.from.hidden_size = 16;
  plan.from.num_hidden_layers = 2;
  plan.from.heads = 5;
  const ModelConfig config = tiny_config("softmax");
  expect_config_error([&] { plan.map(config); },
                      "the plan is for another model: this one has: hidden_size 12 (expected 16), "
                      "heads 4 (expected 5)");
  plan.from = {};
  plan.to.parameters = 7;
  expect_config_error(
      [&] { plan.map(config); },
      "the plan does not make the model that it names: what comes out has: "
      "parameters " +
          std::to_string(parameter_count(map_of(Width{.hidden_factor = 2}, config).to)) +
          " (expected 7)");
  plan.to = {};
  plan.steps = {{Masked{.heads = 6}}, {Width{.hidden_factor = 2}}};
  expect_config_error([&] { plan.map(config); },
                      "step 2 of 2 (width): masked growth must come last: what is being faded in "
                      "cannot grow until its ramp has ended");
  plan.steps = {{Width{.hidden_factor = 2}}, {SignalHeads{.factor = 2}}};
  expect_config_error([&] { plan.map(config); },
                      "step 2 of 2 (signal_heads): the model's attention is of type softmax, which "
                      "has no signal heads; expected differential or grouped_differential");
}

TEST(GrowthPlanFile, IsReadStrictly) {
  const auto read = [](const std::string& text) {
    GrowthPlan plan;
    read_yaml(text, "plan.yaml", {}, [&](FieldVisitor& visit) { plan.fields(visit); });
    return plan;
  };
  const GrowthPlan plan = read(
      "steps:\n"
      "  - {operator: width, hidden_factor: 2, noise_db: 0}\n"
      "  - {operator: depth, at: [1, 3]}\n"
      "  - {operator: masked, heads: 8, ramp_steps: 10}\n"
      "from: {parameters: 5}\n");
  ASSERT_EQ(plan.steps.size(), 3U);
  EXPECT_EQ(plan.steps[0], (GrowthStep{Width{.hidden_factor = 2, .noise_db = 0}}));
  EXPECT_EQ(plan.steps[1], GrowthStep{depth_at({1, 3})});
  EXPECT_EQ(plan.steps[2], (GrowthStep{Masked{.heads = 8, .ramp_steps = 10}}));
  EXPECT_EQ(plan.from.parameters, 5);
  const auto refused = [&](const std::string& text, const std::string& message) {
    try {
      read(text);
      FAIL() << message;
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
    }
  };
  refused("steps:\n  - {operator: wide, hidden_factor: 2}\n", "plan.yaml:2");
  refused("steps:\n  - {operator: widht, hidden_factor: 2}\n", "did you mean \"width\"?");
  // What older versions called them, in runs that are resumed.
  const std::vector<GrowthStep> former =
      read(
          "steps:\n  - {operator: width, hidden: 2, feed_forward: 3}\n"
          "  - {operator: stack, times: 5}\n  - {operator: zero_pad, key_value_heads: 8}\n")
          .steps;
  ASSERT_EQ(former.size(), 3U);
  EXPECT_EQ(former[0], (GrowthStep{Width{.hidden_factor = 2, .feed_forward_factor = 3}}));
  EXPECT_EQ(former[1], (GrowthStep{Stack{.factor = 5}}));
  EXPECT_EQ(former[2], (GrowthStep{ZeroPad{.num_key_value_heads = 8}}));
  refused(
      "steps:\n  - {operator: width, hidden: 2, hidden_factor: 2}\n",
      "steps.0.hidden: is called steps.0.hidden_factor now, and steps.0.hidden_factor is given, "
      "too");
  refused("steps:\n  - {operator: width, hiden_factor: 2}\n", "did you mean \"hidden_factor\"?");
  refused("steps:\n  - {operator: width, hidden_factor: 2}\n  - {operator: depth}\n",
          "plan.yaml:3");
  refused("steps:\n  - {operator: width, hidden_factor: 2, factor: 2}\n", "factor");
  refused("steps: []\n", "steps: empty; give at least one {operator: ...}");
  refused("stages: []\n", "stages");
}

}  // namespace
}  // namespace gda::test
