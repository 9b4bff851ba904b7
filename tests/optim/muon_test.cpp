#include "gda/optim/muon.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "gda/core/error.h"
#include "gda/core/philox.h"
#include "gda/ops/newton_schulz.h"
#include "gda/optim/optimizer.h"
#include "support/tiny_model.h"

namespace gda {
namespace {

constexpr double kLr = 0.02;
const OptimizerConfig kConfig{
    .name = OptimizerName::muon,
    .lr = kLr,
    .weight_decay = 0.3,
    .momentum = 0.9,
    .adamw = AdamWGroupConfig{.lr = 0.005, .betas = {0.8, 0.9}, .eps = 1e-6, .weight_decay = 0.1}};

class MuonTest : public testing::Test {
 protected:
  Context context() { return {Stream{}, arena_}; }

  // The same for the same name and step.
  void fill_gradients(const ParameterStore& parameters, std::uint64_t step) {
    for (const Parameter& parameter : parameters.all()) {
      if (!parameter.gradient) continue;
      const Philox random(step, RandomPurpose::test, parameter.spec.name);
      for (std::int64_t i = 0; i < parameter.gradient.elements(); ++i) {
        parameter.gradient.data<double>()[i] = random.normal(static_cast<std::uint64_t>(i));
      }
    }
  }

  void update(GradientBuckets& buckets, Optimizer& optimizer, std::int64_t step, double lr) {
    fill_gradients(buckets.parameters(), static_cast<std::uint64_t>(step));
    for (std::size_t i = 0; i < buckets.parameters().buckets().size(); ++i) {
      if (buckets.parameters().buckets()[i].trainable) buckets.reduce(i);
    }
    buckets.gradient_norm(context());
    optimizer.update(context(), {.lr = lr, .gradient_scale = 0.5, .update = step});
    buckets.wait_all();
  }

  Arena arena_;
  std::unique_ptr<Communicator> self_ = make_self_communicator();
};

bool is_muons(const ParameterSpec& spec) {
  return spec.layer >= 0 && spec.is_matrix();
}

// The formula of muon.h, matrix by matrix, from the same gradients.
TEST_F(MuonTest, MovesTheMatricesOfLayersByTheFormula) {
  const auto specs = parameter_specs(test::tiny_config("grouped_differential"));
  ParameterStore parameters(specs, DType::f64, 1, true);
  ParameterStore expected(specs, DType::f64, 1, true);
  parameters.initialize(7);
  expected.initialize(7);
  GradientBuckets buckets(parameters, *self_);
  Optimizer optimizer(buckets, make_update_rules(kConfig, buckets));
  std::map<std::string, std::vector<double>> momentum;
  std::int64_t matrices = 0;
  for (std::int64_t step = 1; step <= 3; ++step) {
    update(buckets, optimizer, step, kLr);
    fill_gradients(expected, static_cast<std::uint64_t>(step));
    for (const Parameter& parameter : expected.all()) {
      if (!is_muons(parameter.spec)) continue;
      ++matrices;
      const Shape& shape = parameter.spec.shape;
      std::vector<double>& buffer = momentum[parameter.spec.name];
      buffer.resize(static_cast<std::size_t>(shape.elements()));
      const OwnedTensor x(DType::f64, shape);
      auto* g = parameter.gradient.data<double>();
      for (std::size_t i = 0; i < buffer.size(); ++i) {
        buffer[i] = 0.9 * buffer[i] + 0.5 * g[i];
        g[i] = 0.5 * g[i] + 0.9 * buffer[i];
      }
      newton_schulz(context(), parameter.gradient, x.tensor);
      auto* p = parameter.value.data<double>();
      const double size = 0.2 * std::sqrt(static_cast<double>(std::max(shape[0], shape[1])));
      const Tensor& actual = parameters.at(parameter.spec.name).value;
      for (std::size_t i = 0; i < buffer.size(); ++i) {
        p[i] = p[i] * (1 - kLr * 0.3) - kLr * size * x.tensor.data<double>()[i];
        ASSERT_NEAR(actual.data<double>()[i], p[i], 1e-14) << parameter.spec.name << " " << i;
      }
    }
  }
  EXPECT_EQ(matrices, 3 * 2 * 7);
}

// The embedding, the head and vectors have the bits of a run with AdamW of the group's settings.
TEST_F(MuonTest, LeavesTheRestToAdamW) {
  const auto specs = parameter_specs(test::tiny_config("grouped_differential"));
  ParameterStore parameters(specs, DType::f64, 1, true);
  ParameterStore plain(specs, DType::f64, 1, true);
  parameters.initialize(7);
  plain.initialize(7);
  GradientBuckets buckets(parameters, *self_);
  GradientBuckets plain_buckets(plain, *self_);
  Optimizer optimizer(buckets, make_update_rules(kConfig, buckets));
  Optimizer adamw(plain_buckets,
                  make_update_rules({.betas = {0.8, 0.9}, .eps = 1e-6}, plain_buckets));
  for (std::int64_t step = 1; step <= 3; ++step) {
    update(buckets, optimizer, step, kLr);
    update(plain_buckets, adamw, step, 0.005);
  }
  std::int64_t others = 0;
  for (const Parameter& parameter : parameters.all()) {
    const Tensor& value = plain.at(parameter.spec.name).value;
    const bool same = std::memcmp(parameter.value.raw(), value.raw(), value.bytes()) == 0;
    EXPECT_EQ(same, !is_muons(parameter.spec)) << parameter.spec.name;
    others += same ? 1 : 0;
  }
  EXPECT_EQ(others, 2 + 1 + 2 * 7);  // embedding and head, norms, and each layer's vectors
}

TEST_F(MuonTest, KeepsOneStateOfItsMatrices) {
  auto specs = parameter_specs(test::tiny_config("softmax"));
  for (ParameterSpec& spec : specs) spec.trainable = spec.layer != 0;
  ParameterStore parameters(specs, DType::bf16, 1, true);
  GradientBuckets buckets(parameters, *self_);
  const Optimizer optimizer(buckets, make_update_rules({.name = OptimizerName::muon}, buckets));
  for (const Parameter& parameter : parameters.all()) {
    using Names = std::vector<std::string>;
    const Names expected = !parameter.spec.trainable  ? Names{}
                           : is_muons(parameter.spec) ? Names{"momentum"}
                                                      : Names{"exp_avg", "exp_avg_sq"};
    EXPECT_EQ(optimizer.states(parameter.spec), expected) << parameter.spec.name;
  }
}

TEST_F(MuonTest, RefusesAPartOfAMatrix) {
  ModelConfig config = test::tiny_config("softmax");
  config.vocab_size = 20;
  const auto placed =
      place(parameter_specs(config), {.stage = whole_model(config), .tensor = 0, .tensor_size = 2});
  ParameterStore parameters(placed, DType::f32, 1, true);
  GradientBuckets buckets(parameters, *self_);
  try {
    Muon(buckets, {});
    FAIL() << "took it";
  } catch (const OpError& error) {
    EXPECT_STREQ(
        error.what(),
        "[muon] model.layers.0.self_attn.q_proj.weight: expected the whole matrix, got rows "
        "0-7, columns 0-11");
  }
}

}  // namespace
}  // namespace gda
