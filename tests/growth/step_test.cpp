// What happens after growth: gradients of new parts, and the next optimizer update in the old
// model's terms.
#include <gtest/gtest.h>

#include "growth/grown_model.h"

namespace gda::test {
namespace {

double largest_gradient(const TinyModel& model, const std::string& name) {
  double largest = 0;
  for (const double g : span_of<double>(model.parameters.at(name).gradient)) {
    largest = std::max(largest, std::abs(g));
  }
  return largest;
}

// LLaMA Pro: only o_proj and down_proj of a new layer have a gradient at first.
TEST(Depth, OnlyTheZeroedMatricesOfANewLayerHaveAGradient) {
  for (const std::string attention : {"softmax", "grouped_differential"}) {
    Depth depth;
    depth.at = {1};
    const GrowthMap map = map_of(depth, tiny_config(attention, "poly_norm"));
    TinyModel old(map.from, DType::f64);
    TinyModel grown(map.to, DType::f64);
    disturb_vectors<double>(old);
    grow<double>(map, old, grown);
    grown.forward_backward(TinyBatch(grown.config));
    for (const TensorMap& tensor : map.tensors) {
      if (tensor.target.layer != 1) continue;
      const std::string& name = tensor.target.name;
      const bool writes = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
      EXPECT_EQ(largest_gradient(grown, name) > 0, writes) << name;
    }
  }
}

// Copies are alike in value and gradient without noise, and are told apart by it.
TEST(Width, NoiseTellsCopiesApart) {
  const GrowthMap map = map_of(Width{.hidden_factor = 2, .feed_forward_factor = 2},
                               tiny_config("grouped_differential"));
  const auto difference_of_copies = [&](const GrowthMap& form, const std::string& name,
                                        std::int64_t half) {
    TinyModel old(map.from, DType::f64);
    TinyModel grown(map.to, DType::f64);
    grow<double>(form, old, grown);
    grown.forward_backward(TinyBatch(grown.config));
    const std::span<double> g = span_of<double>(grown.parameters.at(name).gradient);
    double largest = 0;
    for (std::int64_t i = 0; i < half; ++i) {
      const auto k = static_cast<std::size_t>(i);
      largest = std::max(largest, std::abs(g[k] - g[k + static_cast<std::size_t>(half)]));
    }
    return largest;
  };
  // Two copies of a unit of the feed-forward block; two of a coordinate of the stream.
  const std::string gate = "model.layers.0.mlp.gate_proj.weight";
  const std::string norm = "model.layers.0.input_layernorm.weight";
  EXPECT_LT(difference_of_copies(without_noise(map), gate, 20 * 24), 1e-14);
  EXPECT_LT(difference_of_copies(without_noise(map), norm, 12), 1e-14);
  EXPECT_GT(difference_of_copies(map, gate, 20 * 24), 1e-4);
  EXPECT_GT(difference_of_copies(map, norm, 12), 1e-4);
}

TEST(SignalHeads, NoiseTellsReplicasApart) {
  const GrowthMap map = map_of(SignalHeads{.factor = 2}, tiny_config("grouped_differential"));
  const std::int64_t d = map.to.attention.head_dim;
  const auto difference = [&](const GrowthMap& form) {
    TinyModel old(map.from, DType::f64);
    TinyModel grown(map.to, DType::f64);
    grow<double>(form, old, grown);
    grown.forward_backward(TinyBatch(grown.config));
    const Tensor& q = grown.parameters.at("model.layers.0.self_attn.q_proj.weight").gradient;
    double largest = 0;
    for (std::int64_t i = 0; i < d * q.dim(1); ++i) {
      largest =
          std::max(largest, std::abs(q.data<double>()[i] - q.data<double>()[d * q.dim(1) + i]));
    }
    return largest;
  };
  EXPECT_LT(difference(without_noise(map)), 1e-15);
  EXPECT_GT(difference(map), 1e-4);
}

// One update of Adam, bias correction left out (it is one factor for all elements that began
// together): m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, step m / sqrt(v).
std::vector<double> adam_step(std::span<const double> g, std::span<const double> m,
                              std::span<const double> v) {
  std::vector<double> step(g.size());
  for (std::size_t i = 0; i < g.size(); ++i) {
    step[i] = (0.9 * m[i] + 0.1 * g[i]) / std::sqrt(0.95 * v[i] + 0.05 * g[i] * g[i] + 1e-300);
  }
  return step;
}

// Adam's step does not depend on the size of the gradient: with the moments carried by the table,
// every copy moves exactly as its original would have.
TEST(AdamStep, OfACopyIsThatOfItsOriginal) {
  GrowthPlan plan;
  plan.steps = {{Width{.hidden_factor = 2,
                       .feed_forward_factor = 3,
                       .heads = WidthHeads::multiply,
                       .noise_db = 0}},
                {SignalHeads{.factor = 2, .noise_db = 0}},
                {ZeroPad{.hidden_size = 29}}};
  const GrowthMap map = plan.map(tiny_config("grouped_differential", "poly_norm"));
  TinyModel old(map.from, DType::f64);
  TinyModel grown(map.to, DType::f64);
  disturb_vectors<double>(old);
  grow<double>(map, old, grown);
  const TinyBatch batch(old.config);
  old.forward_backward(batch);
  grown.forward_backward(batch);
  for (const TensorMap& tensor : map.tensors) {
    const std::span<double> g = span_of<double>(old.parameters.at(tensor.source).gradient);
    std::vector<double> m(g.size());
    std::vector<double> v(g.size());
    const Philox random(2, RandomPurpose::test, tensor.source);
    for (std::size_t i = 0; i < g.size(); ++i) {
      m[i] = g[i] * (1 + 0.3 * random.normal(2 * i));
      v[i] = g[i] * g[i] * (1 + 0.3 * std::abs(random.normal(2 * i + 1)));
    }
    const std::vector<double> old_step = adam_step(g, m, v);
    const auto size = static_cast<std::size_t>(tensor.target.shape.elements());
    std::vector<double> grown_m(size);
    std::vector<double> grown_v(size);
    std::vector<double> expected(size);
    apply(tensor, CarriedState::first_moment, 1, m, grown_m);
    apply(tensor, CarriedState::second_moment, 1, v, grown_v);
    TensorMap copies = tensor;
    for (TensorStep& step : copies.steps) {
      for (AxisMap* axis : {&step.rows, &step.columns}) {
        for (AxisMap::Run& run : axis->runs) run.gradient_scale = 1;
      }
    }
    apply(copies, CarriedState::first_moment, 1, old_step, expected);
    const std::vector<double> found = adam_step(
        span_of<double>(grown.parameters.at(tensor.target.name).gradient), grown_m, grown_v);
    for (std::size_t i = 0; i < size; ++i) {
      // A tiny gradient is known only to the roundings of the terms that make it up.
      const bool made_up = grown_v[i] == 0 || std::sqrt(grown_v[i]) < 1e-9;
      if (made_up) continue;
      ASSERT_NEAR(found[i], expected[i], 1e-5) << tensor.target.name << " " << i;
    }
  }
}

}  // namespace
}  // namespace gda::test
