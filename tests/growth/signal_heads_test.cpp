#include "gda/growth/signal_heads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "gda/core/error.h"
#include "support/tiny_model.h"

namespace gda {
namespace {

using test::tiny_config;
using test::TinyBatch;
using test::TinyModel;

template <class T>
std::span<T> span_of(const Tensor& tensor) {
  return {tensor.data<T>(), static_cast<std::size_t>(tensor.elements())};
}

// Carries the values (or gradients) of one model into the other.
template <class T>
void grow(const GrowthMap& map, GrowthState state, const GrowthNoise& noise, const TinyModel& from,
          const std::vector<Tensor>& targets) {
  for (std::size_t i = 0; i < map.tensors.size(); ++i) {
    const TensorMap& tensor = map.tensors[i];
    const Parameter& source = from.parameters.at(tensor.source);
    const Tensor& old = state == GrowthState::value ? source.value : source.gradient;
    const std::int64_t columns = old.rank() == 2 ? old.dim(1) : 1;
    apply(tensor, state, noise, std::span<const T>(span_of<T>(old)), columns,
          span_of<T>(targets[i]));
  }
}

std::vector<Tensor> values_of(const GrowthMap& map, const TinyModel& model) {
  std::vector<Tensor> values;
  for (const TensorMap& tensor : map.tensors) {
    values.push_back(model.parameters.at(tensor.target.name).value);
  }
  return values;
}

// Largest difference of the logits over the largest logit.
template <class T>
double logit_error(TinyModel& a, TinyModel& b) {
  const TinyBatch batch(a.config);
  const Shape shape{TinyBatch::kBatch * TinyBatch::kLength, a.config.vocab_size};
  const OwnedTensor x(dtype_of<T>, shape);
  const OwnedTensor y(dtype_of<T>, shape);
  a.decoder.forward_logits(a.context(), batch.view(), x.tensor);
  b.decoder.forward_logits(b.context(), batch.view(), y.tensor);
  double difference = 0;
  double largest = 0;
  for (std::int64_t i = 0; i < shape.elements(); ++i) {
    const double p = x.tensor.data<T>()[i];
    difference = std::max(difference, std::abs(p - y.tensor.data<T>()[i]));
    largest = std::max(largest, std::abs(p));
  }
  return difference / largest;
}

struct Case {
  std::string name;
  std::string attention;
  std::string act;
  bool tied;
  std::function<GrowthMap(const ModelConfig&)> operation;
};

class SignalHeads : public ::testing::TestWithParam<Case> {
 protected:
  ModelConfig config() const {
    return tiny_config(GetParam().attention, GetParam().act, GetParam().tied);
  }
};

TEST_P(SignalHeads, KeepsTheFunctionInF64) {
  const GrowthMap map = GetParam().operation(config());
  TinyModel old(map.from, DType::f64);
  TinyModel grown(map.to, DType::f64);
  for (const double decibels : {0.0, 10.0}) {
    grow<double>(map, GrowthState::value, {.decibels = decibels}, old, values_of(map, grown));
    EXPECT_LT((logit_error<double>(old, grown)), 1e-12) << decibels << " dB";
  }
}

TEST_P(SignalHeads, KeepsTheFunctionInF32) {
  const GrowthMap map = GetParam().operation(config());
  TinyModel old(map.from, DType::f32);
  TinyModel grown(map.to, DType::f32);
  grow<float>(map, GrowthState::value, {.decibels = 10}, old, values_of(map, grown));
  EXPECT_LT((logit_error<float>(old, grown)), 1e-5);
}

// What the table says of gradients is what the grown model's backward pass gives: the first
// moment's rule applied to the old gradient is the new gradient, for every element that copies an
// old one.
TEST_P(SignalHeads, GradientScalesAreThoseOfTheGrownModel) {
  const GrowthMap map = GetParam().operation(config());
  TinyModel old(map.from, DType::f64);
  TinyModel grown(map.to, DType::f64);
  grow<double>(map, GrowthState::value, {.decibels = 0}, old, values_of(map, grown));
  const TinyBatch batch(old.config);
  old.forward_backward(batch);
  grown.forward_backward(batch);
  for (const TensorMap& tensor : map.tensors) {
    const Parameter& target = grown.parameters.at(tensor.target.name);
    const Tensor& source = old.parameters.at(tensor.source).gradient;
    std::vector<double> expected(static_cast<std::size_t>(target.value.elements()));
    const std::int64_t columns = source.rank() == 2 ? source.dim(1) : 1;
    apply(tensor, GrowthState::first_moment, {}, std::span<const double>(span_of<double>(source)),
          columns, expected);
    double largest = 0;
    for (const double value : expected) largest = std::max(largest, std::abs(value));
    const std::int64_t width = target.value.rank() == 2 ? target.value.dim(1) : 1;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i) / width;
      const auto column = static_cast<std::int64_t>(i) % width;
      const bool filled =
          tensor.rows.entries[static_cast<std::size_t>(row)].source < 0 ||
          (width > 1 && tensor.columns.entries[static_cast<std::size_t>(column)].source < 0);
      if (filled) continue;
      ASSERT_NEAR(target.gradient.data<double>()[i], expected[i], 1e-12 * (1 + largest))
          << tensor.target.name << " [" << i << "]";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Operators, SignalHeads,
    ::testing::Values(Case{"replicate_2", "grouped_differential", "silu", false,
                           [](const ModelConfig& c) { return replicate_signal_heads(c, 2); }},
                      Case{"replicate_3_tied_poly_norm", "grouped_differential", "poly_norm", true,
                           [](const ModelConfig& c) { return replicate_signal_heads(c, 3); }},
                      Case{"replicate_4_of_differential", "differential", "silu", false,
                           [](const ModelConfig& c) { return replicate_signal_heads(c, 4); }},
                      Case{"add_1", "grouped_differential", "silu", false,
                           [](const ModelConfig& c) { return add_signal_heads(c, 1); }},
                      Case{"add_2_to_differential", "differential", "poly_norm", true,
                           [](const ModelConfig& c) { return add_signal_heads(c, 2); }}),
    [](const auto& instance) { return instance.param.name; });

// Paired noise must break the tie: the gradients of two replicas of q differ once their o_proj
// columns do, and are equal without.
TEST(SignalHeadNoise, TellsReplicasApart) {
  const GrowthMap map = replicate_signal_heads(tiny_config("grouped_differential"), 2);
  const std::int64_t d = map.to.attention.head_dim;
  const auto difference = [&](double decibels) {
    TinyModel old(map.from, DType::f64);
    TinyModel grown(map.to, DType::f64);
    grow<double>(map, GrowthState::value, {.decibels = decibels}, old, values_of(map, grown));
    grown.forward_backward(TinyBatch(grown.config));
    const Tensor& q = grown.parameters.at("model.layers.0.self_attn.q_proj.weight").gradient;
    double largest = 0;
    for (std::int64_t i = 0; i < d * q.dim(1); ++i) {
      largest =
          std::max(largest, std::abs(q.data<double>()[i] - q.data<double>()[d * q.dim(1) + i]));
    }
    return largest;
  };
  EXPECT_LT(difference(0), 1e-15);
  EXPECT_GT(difference(10), 1e-4);
}

TEST(SignalHeadConfig, IsRightAfterwards) {
  const ModelConfig from = tiny_config("differential");
  const GrowthMap map = replicate_signal_heads(from, 3);
  EXPECT_EQ(map.to.attention.type, "grouped_differential");
  EXPECT_EQ(map.to.attention.signal_heads, 6);
  EXPECT_EQ(map.to.attention.noise_heads, from.attention.noise_heads);
  EXPECT_EQ(map.to.attention.num_key_value_heads, from.attention.num_key_value_heads);
  ASSERT_EQ(map.to.lambda_init.size(), 2U);
  EXPECT_EQ(map.to.lambda_init[1], from.lambda_init_of(1));
}

void expect_message(const std::function<void()>& action, const std::string& text) {
  try {
    action();
    FAIL() << "expected ConfigError: " << text;
  } catch (const ConfigError& error) {
    EXPECT_EQ(std::string(error.what()), text);
  }
}

TEST(SignalHeadConfig, RefusesWhatCannotBe) {
  expect_message([] { replicate_signal_heads(tiny_config("softmax"), 2); },
                 "grow signal-heads: the model's attention is of type softmax, which has no signal "
                 "heads; expected differential or grouped_differential");
  expect_message([] { replicate_signal_heads(tiny_config("differential"), 1); },
                 "grow signal-heads: --factor 1: expected 2 or more");
  expect_message([] { add_signal_heads(tiny_config("differential"), 0); },
                 "grow signal-heads: --add 0: expected 1 or more");
}

}  // namespace
}  // namespace gda
