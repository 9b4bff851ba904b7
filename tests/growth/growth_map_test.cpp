#include "gda/growth/growth_map.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "gda/core/error.h"
#include "growth/grown_model.h"

namespace gda {
namespace {

TensorMap two_by_three() {
  TensorMap map;
  map.target.name = "w";
  map.target.shape = {2, 3};
  map.source = "w";
  map.source_shape = {2, 2};
  TensorStep step;
  step.rows.append({.length = 1, .source = 1, .scale = 2, .gradient_scale = 0.5});
  step.rows.append({.length = 1, .source = 0});
  step.columns.append({.length = 1, .source = 0});
  step.columns.append_filled(1);
  step.columns.append({.length = 1, .source = 1, .scale = 3});
  map.steps = {step};
  return map;
}

std::vector<double> applied(const TensorMap& map, CarriedState state) {
  const std::vector<double> source = {1, 2, 3, 4};  // [2, 2]
  std::vector<double> target(static_cast<std::size_t>(map.target.shape.elements()));
  apply(map, state, 1, source, target);
  return target;
}

TEST(GrowthMap, CopiesScalesAndFills) {
  EXPECT_EQ(applied(two_by_three(), CarriedState::value), (std::vector<double>{6, 0, 24, 1, 0, 6}));
  TensorMap map = two_by_three();
  map.steps[0].fill.value = 7;
  EXPECT_EQ(applied(map, CarriedState::value), (std::vector<double>{6, 7, 24, 1, 7, 6}));
  EXPECT_EQ(applied(map, CarriedState::first_moment)[1], 0);
}

TEST(GrowthMap, MomentsFollowTheGradient) {
  EXPECT_EQ(applied(two_by_three(), CarriedState::first_moment),
            (std::vector<double>{1.5, 0, 2, 1, 0, 2}));
  EXPECT_EQ(applied(two_by_three(), CarriedState::second_moment),
            (std::vector<double>{0.75, 0, 1, 1, 0, 2}));
  TensorMap fresh = two_by_three();
  fresh.steps[0].fresh_moments = true;
  EXPECT_EQ(applied(fresh, CarriedState::first_moment), std::vector<double>(6, 0.0));
  EXPECT_EQ(applied(fresh, CarriedState::second_moment), std::vector<double>(6, 0.0));
  EXPECT_EQ(applied(fresh, CarriedState::value), applied(two_by_three(), CarriedState::value));
}

TEST(GrowthMap, FillsWithNormalNumbersForValuesOnly) {
  TensorMap map = two_by_three();
  map.steps[0].fill.stddev = 0.5;
  const std::vector<double> target = applied(map, CarriedState::value);
  EXPECT_NE(target[1], 0);
  EXPECT_NE(target[1], target[4]);
  EXPECT_EQ(applied(map, CarriedState::first_moment)[1], 0);
  // Another growth draws other numbers.
  map.steps[0].draw = "another";
  EXPECT_NE(applied(map, CarriedState::value)[1], target[1]);
}

TEST(GrowthMap, PairedNoiseSumsToZeroAndLiesBelowTheWeights) {
  TensorMap map;
  map.target.name = "w";
  map.target.shape = {400, 100};
  map.source = "w";
  map.source_shape = {400, 50};
  TensorStep step;
  step.rows = AxisMap::identity(400);
  step.columns = AxisMap::tiled(50, 2, 0.5, 1);
  step.noise = {{.plus = 0, .minus = 50, .width = 50}};
  map.steps = {step};
  const std::vector<double> source(20000, 2.0);  // rms 2
  std::vector<double> plain(40000);
  std::vector<double> noisy(40000);
  apply(map, CarriedState::value, 1, source, plain);
  map.steps[0].noise_db = 20;
  apply(map, CarriedState::value, 1, source, noisy);
  double squares = 0;
  std::set<double> different;
  for (std::size_t i = 0; i < 400; ++i) {
    for (std::size_t j = 0; j < 50; ++j) {
      const double n = noisy[i * 100 + j] - plain[i * 100 + j];
      different.insert(n);
      EXPECT_NEAR(noisy[i * 100 + 50 + j] - plain[i * 100 + 50 + j], -n, 1e-15);
      squares += n * n;
    }
  }
  // 20 dB below 2, and halved as the weights are. 20000 samples: the estimate of a standard
  // deviation is right to 1 / sqrt(2 * 20000) = 0.5 percent; five of these are allowed.
  EXPECT_NEAR(std::sqrt(squares / 20000), 0.1, 0.1 * 0.025);
  EXPECT_GT(different.size(), 19990U);  // each element has a number of its own
}

TEST(AxisMap, KnowsItsRuns) {
  AxisMap map;
  map.append({.length = 2, .source = 3});
  map.append({.length = 0, .source = 9});
  map.append({.length = 4, .source = 5});
  map.append({.length = 1, .source = 9, .scale = 2});
  map.append_filled(2);
  map.append_filled(1);
  ASSERT_EQ(map.runs.size(), 3U);
  EXPECT_EQ(map.size(), 10);
  EXPECT_EQ(map.expanded()[5], (AxisMap::Run{.length = 1, .source = 8}));
  EXPECT_EQ(map.expanded()[9].source, AxisMap::kFilled);
  EXPECT_TRUE(map.has_filled());
  EXPECT_FALSE(map.is_identity());
  EXPECT_TRUE(AxisMap::identity(4).is_identity());
  EXPECT_EQ(AxisMap::tiled(3, 2, 1, 1).size(), 6);
}

TEST(AxisMap, Composes) {
  AxisMap first;
  first.append({.length = 1, .source = 2, .scale = 2, .gradient_scale = 3});
  first.append_filled(1);
  AxisMap second;
  second.append({.length = 1, .source = 1});
  second.append_filled(1);
  second.append({.length = 2, .source = 0, .scale = 5, .gradient_scale = 7});
  const AxisMap both = compose(first, second);
  ASSERT_EQ(both.runs.size(), 3U);
  EXPECT_EQ(both.runs[0], (AxisMap::Run{.length = 2}));
  EXPECT_EQ(both.runs[1],
            (AxisMap::Run{.length = 1, .source = 2, .scale = 10, .gradient_scale = 21}));
  EXPECT_EQ(both.runs[2], (AxisMap::Run{.length = 1, .scale = 1}));
}

// One composed table gives, for every state, what the growths give one after the other.
TEST(GrowthMap, ComposedIsOneAfterTheOther) {
  const std::vector<GrowthOperator> operators = {
      SignalHeads{.add = 1},
      Width{.hidden_factor = 2, .feed_forward_factor = 2},
      ZeroPad{.hidden_size = 31, .intermediate_size = 45},
      SignalHeads{.factor = 3},
      Depth{.every = 2},
      Stack{.factor = 2},
      Untie{}};
  const ModelConfig config = test::tiny_config("grouped_differential", "poly_norm", true);
  GrowthMap whole = identity_map(config, config);
  std::map<std::string, std::vector<double>> states[3];
  for (const ParameterSpec& spec : parameter_specs(config)) {
    const Philox random(1, RandomPurpose::test, spec.name);
    for (auto& state : states) {
      std::vector<double>& values = state[spec.name];
      values.resize(static_cast<std::size_t>(spec.shape.elements()));
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
    }
  }
  const auto old = states[0];
  for (const GrowthOperator& operation : operators) {
    const GrowthMap next = test::map_of(operation, whole.to);
    for (const int s : {0, 1, 2}) {
      std::map<std::string, std::vector<double>> grown;
      for (const TensorMap& tensor : next.tensors) {
        std::vector<double>& values = grown[tensor.target.name];
        values.resize(static_cast<std::size_t>(tensor.target.shape.elements()));
        apply(tensor, static_cast<CarriedState>(s), 3, states[s].at(tensor.source), values);
      }
      states[s] = std::move(grown);
    }
    whole = compose(whole, next);
  }
  check_sizes(whole);
  EXPECT_FALSE(whole.preserving);  // there was a stack among them
  for (const int s : {0, 1, 2}) {
    for (const TensorMap& tensor : whole.tensors) {
      const std::vector<double>& expected = states[s].at(tensor.target.name);
      std::vector<double> values(expected.size());
      apply(tensor, static_cast<CarriedState>(s), 3, old.at(tensor.source), values);
      for (std::size_t i = 0; i < values.size(); ++i) {
        // Factors are multiplied in another order: a few roundings of the largest value.
        ASSERT_NEAR(values[i], expected[i], 1e-14) << tensor.target.name << " state " << s;
      }
    }
  }
}

TEST(GrowthMap, StepsThatMakeNothingUpAreOne) {
  const ModelConfig config = test::tiny_config("grouped_differential");
  const GrowthMap first = test::map_of(SignalHeads{.factor = 2, .noise_db = 0}, config);
  const GrowthMap both =
      compose(first, test::map_of(Width{.hidden_factor = 2, .noise_db = 0}, first.to));
  for (const TensorMap& tensor : both.tensors) {
    EXPECT_EQ(tensor.steps.size(), 1U) << tensor.target.name;
  }
}

TEST(GrowthMap, ComposesOnlyWhatFollows) {
  const ModelConfig config = test::tiny_config("softmax");
  const GrowthMap wide = test::map_of(Width{.hidden_factor = 2}, config);
  test::expect_config_error([&] { compose(wide, wide); },
                            "two growths do not follow one another: the second is for another "
                            "model than the first one makes");
}

TEST(GrowthMap, ChecksItsSizes) {
  const ModelConfig config = test::tiny_config("softmax");
  GrowthMap map = identity_map(config, config);
  check_sizes(map);
  const auto expect = [&](const std::string& text) {
    try {
      check_sizes(map);
      FAIL() << text;
    } catch (const FormatError& error) {
      EXPECT_EQ(std::string(error.what()), text);
    }
  };
  map.tensors[0].steps[0].rows = AxisMap::identity(18);
  expect("growth of model.embed_tokens.weight: its map has 18 rows, the tensor 19");
  map.tensors[0].steps[0].rows = AxisMap();
  map.tensors[0].steps[0].rows.append({.length = 19, .source = 1});
  expect("growth of model.embed_tokens.weight: rows [1, 20) of 19 are copied");
}

}  // namespace
}  // namespace gda
