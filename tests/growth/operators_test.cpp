// Every operator, for every type of model: the function is kept, and the table's gradient scales
// are those of the grown model.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "growth/grown_model.h"

namespace gda::test {
namespace {

struct Operation {
  std::string name;
  std::vector<GrowthOperator> steps;
  bool differential_only = false;
};

// Sizes are for tiny_config: hidden 12, feed-forward 20, 2 layers.
std::vector<Operation> preserving_operations() {
  const auto depth_at = [](std::vector<std::int64_t> at) {
    Depth depth;
    depth.at = std::move(at);
    return depth;
  };
  const SignalHeads twice{.factor = 2};
  return {
      {"replicate_2", {twice}, true},
      {"replicate_3", {SignalHeads{.factor = 3}}, true},
      {"add_2_heads", {SignalHeads{.add = 2}}, true},
      {"width_hidden_2", {Width{.hidden_factor = 2}}},
      {"width_feed_forward_3", {Width{.feed_forward_factor = 3}}},
      {"width_hidden_3_feed_forward_2", {Width{.hidden_factor = 3, .feed_forward_factor = 2}}},
      {"width_2_heads_2",
       {Width{.hidden_factor = 2, .feed_forward_factor = 2, .heads = WidthHeads::multiply}}},
      {"pad_hidden", {ZeroPad{.hidden_size = 17}}},
      {"pad_feed_forward", {ZeroPad{.intermediate_size = 27}}},
      {"pad_heads", {ZeroPad{.heads = 8}}},
      {"pad_groups", {ZeroPad{.num_key_value_heads = 6}}},
      {"pad_all",
       {ZeroPad{
           .hidden_size = 13, .intermediate_size = 31, .heads = 12, .num_key_value_heads = 6}}},
      {"depth_every", {Depth{.every = 1}}},
      {"depth_two_below", {depth_at({0, 1, 4})}},
      {"depth_in_all", {Depth{.layers = 5}}},
      {"twice_grown",
       {Width{.hidden_factor = 2}, ZeroPad{.hidden_size = 29}, Width{.hidden_factor = 2}}},
      {"motif",
       {Width{.hidden_factor = 2, .feed_forward_factor = 2}, twice, Depth{.every = 1, .at = {}}},
       true},
      {"new_heads_copied", {SignalHeads{.add = 1}, twice}, true},
  };
}

struct OperatorCase {
  Operation operation;
  std::string attention;
  std::string act;
  bool tied;

  ModelConfig config() const { return tiny_config(attention, act, tied); }
  GrowthMap map() const {
    GrowthPlan plan;
    for (const GrowthOperator& step : operation.steps) plan.steps.push_back({step});
    return plan.map(config());
  }
  std::string name() const {
    return operation.name + "_of_" + attention + "_" + act + (tied ? "_tied" : "");
  }
};

std::vector<OperatorCase> cases(const std::vector<Operation>& operations) {
  std::vector<OperatorCase> all;
  for (const Operation& operation : operations) {
    for (const std::string attention :
         {"softmax", "differential", "grouped_differential", "differential_v2"}) {
      const bool differential = attention.ends_with("differential");
      if (operation.differential_only && !differential) continue;
      for (const std::string act : {"silu", "poly_norm"}) {
        for (const bool tied : {false, true}) all.push_back({operation, attention, act, tied});
      }
    }
  }
  return all;
}

const auto kCaseName = [](const auto& instance) { return instance.param.name(); };

class PreservingOperator : public testing::TestWithParam<OperatorCase> {};

TEST_P(PreservingOperator, KeepsTheFunctionInF64) {
  const GrowthMap map = GetParam().map();
  EXPECT_TRUE(map.preserving);
  TinyModel old(map.from, DType::f64);
  TinyModel grown(map.to, DType::f64);
  disturb_vectors<double>(old);
  for (const GrowthMap& form : {map, without_noise(map)}) {
    grow<double>(form, old, grown);
    EXPECT_LT((logit_error<double>(old, grown)), 1e-12);
  }
}

TEST_P(PreservingOperator, KeepsTheFunctionInF32) {
  const GrowthMap map = GetParam().map();
  TinyModel old(map.from, DType::f32);
  TinyModel grown(map.to, DType::f32);
  disturb_vectors<float>(old);
  grow<float>(map, old, grown);
  EXPECT_LT((logit_error<float>(old, grown)), 1e-5);
}

// Whether element i of a tensor that was carried is a copy all the way.
std::vector<bool> copied_elements(const TensorMap& tensor) {
  TensorMap marks = tensor;
  for (TensorStep& step : marks.steps) {
    step.fill = {};
    step.noise_db = 0;
    for (AxisMap* axis : {&step.rows, &step.columns}) {
      for (AxisMap::Run& run : axis->runs) run.scale = 1;
    }
  }
  const std::vector<double> ones(
      static_cast<std::size_t>(tensor.source.empty() ? 0 : tensor.source_shape.elements()), 1.0);
  std::vector<double> result(static_cast<std::size_t>(tensor.target.shape.elements()));
  apply(marks, CarriedState::value, 1, ones, result);
  return {result.begin(), result.end()};
}

// What the table says of gradients is what the grown model's backward pass gives: the first
// moment's rule applied to the old gradient is the new gradient, for every element that copies an
// old one and whose moments are carried.
TEST_P(PreservingOperator, GradientScalesAreThoseOfTheGrownModel) {
  const GrowthMap map = without_noise(GetParam().map());
  TinyModel old(map.from, DType::f64);
  TinyModel grown(map.to, DType::f64);
  disturb_vectors<double>(old);
  grow<double>(map, old, grown);
  const TinyBatch batch(old.config);
  old.forward_backward(batch);
  grown.forward_backward(batch);
  for (const TensorMap& tensor : map.tensors) {
    const bool fresh = std::any_of(tensor.steps.begin(), tensor.steps.end(),
                                   [](const TensorStep& step) { return step.fresh_moments; });
    if (fresh || tensor.source.empty()) continue;
    const Tensor& found = grown.parameters.at(tensor.target.name).gradient;
    std::vector<double> expected(static_cast<std::size_t>(found.elements()));
    carry<double>(tensor, CarriedState::first_moment, old.parameters.at(tensor.source).gradient,
                  expected);
    double largest = 0;
    for (const double value : expected) largest = std::max(largest, std::abs(value));
    const std::vector<bool> copied = copied_elements(tensor);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (!copied[i]) continue;
      ASSERT_NEAR(found.data<double>()[i], expected[i], 1e-12 * (1 + largest))
          << tensor.target.name << " [" << i << "]";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Operators, PreservingOperator,
                         testing::ValuesIn(cases(preserving_operations())), kCaseName);

// Only a tied model can be untied, and its two matrices share what was one gradient.
TEST(Untie, KeepsTheFunctionAndSharesTheGradient) {
  for (const std::string act : {"silu", "poly_norm"}) {
    const GrowthMap map = map_of(Untie{}, tiny_config("grouped_differential", act, true));
    TinyModel old(map.from, DType::f64);
    TinyModel grown(map.to, DType::f64);
    grow<double>(map, old, grown);
    EXPECT_EQ((logit_error<double>(old, grown)), 0);
    const TinyBatch batch(old.config);
    old.forward_backward(batch);
    grown.forward_backward(batch);
    const Tensor& sum = old.parameters.at("model.embed_tokens.weight").gradient;
    const Tensor& a = grown.parameters.at("model.embed_tokens.weight").gradient;
    const Tensor& b = grown.parameters.at("lm_head.weight").gradient;
    for (std::int64_t i = 0; i < sum.elements(); ++i) {
      ASSERT_NEAR(a.data<double>()[i] + b.data<double>()[i], sum.data<double>()[i], 1e-12);
    }
  }
}

// Tensors whose moments begin at zero: whole layers that are added, and both parts of what was one.
// All others have moments wherever they have copies.
TEST(Moments, BeginAtZeroWhereTheHeadersSay) {
  const auto fresh = [](const GrowthOperator& operation, bool tied) {
    const GrowthMap map = map_of(operation, tiny_config("grouped_differential", "silu", tied));
    std::set<std::string> names;
    for (const TensorMap& tensor : map.tensors) {
      for (const CarriedState state : {CarriedState::first_moment, CarriedState::second_moment}) {
        const std::vector<double> ones(static_cast<std::size_t>(tensor.source_shape.elements()), 1);
        std::vector<double> moments(static_cast<std::size_t>(tensor.target.shape.elements()), 7);
        apply(tensor, state, 1, ones, moments);
        const auto zeros = std::count(moments.begin(), moments.end(), 0);
        if (zeros == tensor.target.shape.elements()) names.insert(tensor.target.name);
      }
    }
    return names;
  };
  const std::set<std::string> none;
  EXPECT_EQ(fresh(SignalHeads{.factor = 2}, true), none);
  EXPECT_EQ(fresh(SignalHeads{.add = 1}, true), none);
  EXPECT_EQ(fresh(Width{.hidden_factor = 2, .feed_forward_factor = 2}, true), none);
  EXPECT_EQ(fresh(ZeroPad{.hidden_size = 17, .intermediate_size = 27}, true), none);
  EXPECT_EQ(fresh(Untie{}, true),
            (std::set<std::string>{"lm_head.weight", "model.embed_tokens.weight"}));
  Depth on_top;
  on_top.at = {2};
  std::set<std::string> layer;
  for (const ParameterSpec& spec :
       parameter_specs(map_of(on_top, tiny_config("grouped_differential")).to)) {
    if (spec.layer == 2) layer.insert(spec.name);
  }
  EXPECT_EQ(fresh(on_top, false), layer);
}

}  // namespace
}  // namespace gda::test
