// Masked structure growth inside the decoder.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "gda/core/error.h"
#include "model/grown_model.h"
#include "model/growth_masks.h"

namespace gda {
namespace {

using test::GrownModel;
using test::Growth;
using test::tiny_growth;
using test::TinyBatch;
using test::TinyModel;

constexpr std::int64_t kRows = TinyBatch::kBatch * TinyBatch::kLength;

struct MaskCase {
  std::string attention;
  std::string act;
  bool tied;
  std::string part;
};

class GrowthMaskTest : public ::testing::TestWithParam<MaskCase> {
 protected:
  Growth growth() const {
    const MaskCase& c = GetParam();
    return tiny_growth(c.attention, c.act, c.tied, c.part);
  }
};

OwnedTensor logits_of(TinyModel& model, const TinyBatch& batch) {
  OwnedTensor logits(model.decoder.statistics_type(), {kRows, model.config.vocab_size});
  model.decoder.forward_logits(model.context(), batch.view(), logits.tensor);
  return logits;
}

double largest(const Tensor& tensor) {
  double value = 0;
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    value = std::max(value, std::abs(test::element(tensor, i)));
  }
  return value;
}

void expect_near(const Tensor& actual, const Tensor& expected, double relative) {
  const double allowed = relative * largest(expected);
  for (std::int64_t i = 0; i < expected.elements(); ++i) {
    ASSERT_NEAR(test::element(actual, i), test::element(expected, i), allowed) << i;
  }
}

void expect_same_gradients(const TinyModel& a, const TinyModel& b) {
  for (std::size_t i = 0; i < a.parameters.buckets().size(); ++i) {
    const Tensor& x = a.parameters.buckets()[i].gradients;
    const Tensor& y = b.parameters.buckets()[i].gradients;
    EXPECT_EQ(std::memcmp(x.raw(), y.raw(), x.bytes()), 0) << "bucket " << i;
  }
}

// The larger model's sums have zeros among their terms, and so another order: a logit errs by a few
// hundred roundings of its size.
void expect_old_logits(const Growth& growth) {
  for (const auto& [compute, relative] : {std::pair{DType::f64, 1e-12}, {DType::f32, 1e-5}}) {
    GrownModel model(growth, compute);
    model.set_growth(0);
    const TinyBatch batch(growth.from);
    expect_near(logits_of(model.to, batch).tensor, logits_of(model.from, batch).tensor, relative);
  }
}

// New weights get exact zeros, old ones the old model's gradient.
void expect_old_gradients(const Growth& growth) {
  GrownModel model(growth, DType::f64);
  model.set_growth(0);
  const TinyBatch batch(growth.from);
  EXPECT_NEAR(model.to.forward_backward(batch), model.from.forward_backward(batch), 1e-11);
  std::int64_t fresh = 0;
  test::for_each_element(
      growth, model.from.parameters, model.to.parameters,
      [&](const Parameter* old, std::int64_t i, const Parameter& grown, std::int64_t j) {
        const double gradient = test::element(grown.gradient, j);
        if (old == nullptr) {
          EXPECT_EQ(gradient, 0) << grown.spec.name << " " << j;
          ++fresh;
        } else {
          const double expected = test::element(old->gradient, i);
          EXPECT_NEAR(gradient, expected, 1e-11 * (1 + largest(old->gradient)))
              << grown.spec.name << " " << j;
        }
      });
  EXPECT_EQ(fresh, parameter_count(growth.to) - parameter_count(growth.from));
}

TEST_P(GrowthMaskTest, AtZeroTheLogitsAreTheOldOnes) {
  expect_old_logits(growth());
}

TEST_P(GrowthMaskTest, AtZeroOnlyOldWeightsHaveAGradient) {
  expect_old_gradients(growth());
}

TEST(GrowthMask, EachAxisGrowsAlone) {
  for (const char* attention :
       {"softmax", "differential", "grouped_differential", "differential_v2"}) {
    for (const char* part : {"hidden", "feed_forward", "heads", "layers"}) {
      SCOPED_TRACE(fmt::format("{} {}", attention, part));
      for (const char* act : {"silu", "poly_norm"}) {
        const Growth growth = tiny_growth(attention, act, act[0] == 's', part);
        expect_old_logits(growth);
        expect_old_gradients(growth);
      }
    }
  }
}

TEST_P(GrowthMaskTest, AtOneItIsThePlainModel) {
  for (const DType compute : {DType::f64, DType::f32}) {
    GrownModel plain(growth(), compute);
    GrownModel masked(growth(), compute);
    const TinyBatch batch(plain.growth.from);
    masked.set_growth(0.5);
    EXPECT_NE(masked.to.loss(batch), plain.to.loss(batch));
    masked.set_growth(1);
    EXPECT_EQ(masked.to.forward_backward(batch), plain.to.forward_backward(batch));
    expect_same_gradients(masked.to, plain.to);
  }
}

// Along a random direction of each parameter, in f64, by the stencil
// (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h. New weights of order 1 bend the loss within a few
// 1e-3 of the way, so that truncation, (h / 2e-3)^4 / 30 of the slope, and rounding, 2^-53 L / h,
// are both near 1e-9 at h = 1e-5.
TEST_P(GrowthMaskTest, GradientsMatchFiniteDifferences) {
  GrownModel model(growth(), DType::f64);
  model.set_growth(0.3);
  const TinyBatch batch(model.growth.from);
  model.to.forward_backward(batch);
  constexpr double kStep = 1e-5;
  for (const Parameter& parameter : model.to.parameters.all()) {
    const Philox random(11, RandomPurpose::test, parameter.spec.name);
    const std::int64_t count = parameter.value.elements();
    const std::vector<double> start(parameter.value.data<double>(),
                                    parameter.value.data<double>() + count);
    std::vector<double> direction(start.size());
    double expected = 0;
    for (std::size_t i = 0; i < start.size(); ++i) {
      direction[i] = random.normal(i);
      expected += parameter.gradient.data<double>()[i] * direction[i];
    }
    const auto loss_at = [&](double steps) {
      for (std::size_t i = 0; i < start.size(); ++i) {
        parameter.value.data<double>()[i] = start[i] + steps * kStep * direction[i];
      }
      return model.to.loss(batch);
    };
    const double measured =
        (8 * (loss_at(1) - loss_at(-1)) - (loss_at(2) - loss_at(-2))) / (12 * kStep);
    loss_at(0);
    EXPECT_NEAR(measured, expected, 1e-7 * (1 + std::abs(expected))) << parameter.spec.name;
    EXPECT_GT(std::abs(expected), 0) << parameter.spec.name;
  }
}

TEST_P(GrowthMaskTest, RecomputationIsBitEqual) {
  for (const DType compute : {DType::f32, DType::bf16}) {
    GrownModel keep(growth(), compute, Recompute::none);
    keep.set_growth(0.3);
    const TinyBatch batch(keep.growth.from);
    const double loss = keep.to.forward_backward(batch);
    for (const Recompute policy : {Recompute::selective, Recompute::full}) {
      GrownModel again(growth(), compute, policy);
      again.set_growth(0.3);
      EXPECT_EQ(again.to.forward_backward(batch), loss);
      expect_same_gradients(again.to, keep.to);
    }
  }
}

// f64, so that only the order of sums differs.
TEST_P(GrowthMaskTest, CachedGenerationMatchesTheWholeSequence) {
  GrownModel model(growth(), DType::f64);
  model.set_growth(0.4);
  constexpr std::int64_t kTokens = 6;
  const TinyBatch batch(model.growth.to);
  const Tensor token = batch.token.tensor.rows(0, kTokens);
  const OwnedTensor position(DType::i32, {kTokens});
  for (std::int32_t i = 0; i < kTokens; ++i) position.tensor.data<std::int32_t>()[i] = i;
  const OwnedTensor whole(DType::f64, {kTokens, model.growth.to.vocab_size});
  TinyModel& to = model.to;
  to.decoder.forward_logits(
      to.context(),
      {.batch = 1, .length = kTokens, .token = token, .position = position.tensor, .first_key = {}},
      whole.tensor);
  KvCache cache(model.growth.to, DType::f64, kTokens);
  const OwnedTensor logits(DType::f64, {1, model.growth.to.vocab_size});
  to.decoder.forward_cached(to.context(), token.rows(0, 3), cache, logits.tensor);
  expect_near(logits.tensor, whole.tensor.rows(2, 1), 1e-12);
  for (std::int64_t i = 3; i < kTokens; ++i) {
    to.decoder.forward_cached(to.context(), token.rows(i, 1), cache, logits.tensor);
    expect_near(logits.tensor, whole.tensor.rows(i, 1), 1e-12);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, GrowthMaskTest,
                         ::testing::Values(MaskCase{"softmax", "silu", false, "all"},
                                           MaskCase{"softmax", "poly_norm", true, "all"},
                                           MaskCase{"differential", "poly_norm", false, "all"},
                                           MaskCase{"grouped_differential", "silu", true, "all"},
                                           MaskCase{"grouped_differential", "poly_norm", false,
                                                    "all"},
                                           MaskCase{"differential_v2", "silu", false, "all"},
                                           MaskCase{"softmax", "silu", true, "groups"}),
                         [](const auto& instance) {
                           return instance.param.attention + "_" + instance.param.act +
                                  (instance.param.tied ? "_tied_" : "_") + instance.param.part;
                         });

// Set, changed and taken away: each pass uses the mask of the moment.
TEST(GrowthMask, FollowsTheLastCall) {
  GrownModel model(tiny_growth("grouped_differential", "silu", false), DType::f32);
  const TinyBatch batch(model.growth.from);
  const double plain = model.to.loss(batch);
  model.set_growth(0.25);
  const double quarter = model.to.loss(batch);
  model.set_growth(0.5);
  EXPECT_NE(model.to.loss(batch), quarter);
  model.set_growth(0.25);
  EXPECT_EQ(model.to.loss(batch), quarter);
  model.to.decoder.set_growth({}, 0);
  EXPECT_EQ(model.to.loss(batch), plain);
}

template <class E, class Action>
void expect_error(const Action& action, const std::string& text) {
  try {
    action();
    ADD_FAILURE() << "expected an error: " << text;
  } catch (const E& error) {
    EXPECT_EQ(error.what(), text);
  }
}

TEST(GrowthMask, RefusesWhatDoesNotFit) {
  TinyModel model(test::tiny_config("grouped_differential"), DType::f32);
  const auto set = [&](const GrowthMask& mask, double m) {
    return [&model, mask, m] { model.decoder.set_growth(mask, m); };
  };
  GrowthMask mask;
  mask.hidden = {{8, 13}};
  expect_error<ConfigError>(set(mask, 0.5),
                            "growth mask: hidden: new coordinates [8, 13) are empty or outside the "
                            "model's [0, 12)");
  mask.hidden = {{8, 8}};
  EXPECT_THROW(set(mask, 0.5)(), ConfigError);
  mask.hidden = {{8, 10}, {10, 12}};
  expect_error<ConfigError>(
      set(mask, 0.5),
      "growth mask: hidden: new coordinates [10, 12) come after ones that end "
      "at 10; expected rising ranges that do not touch");
  mask.hidden = {{0, 12}};
  expect_error<ConfigError>(set(mask, 0.5),
                            "growth mask: hidden: all 12 coordinates are new; expected old ones");
  mask = {};
  mask.heads = {{6, 7}};
  expect_error<ConfigError>(
      set(mask, 0.5),
      "growth mask: heads: new coordinates [6, 7) are empty or outside the model's [0, 6)");
  mask.heads = {{5, 6}};
  for (const double m : {-0.1, 1.1, std::nan("")}) {
    expect_error<OpError>(set(mask, m),
                          fmt::format("[set_growth] expected a mask value in [0, 1], got {}", m));
  }
}

TEST(GrowthRamp, IsAQuotientOfIntegers) {
  GrowthRamp ramp;
  ramp.first_step = 10;
  ramp.steps = 3;
  EXPECT_EQ(ramp.at(9), 0);
  EXPECT_EQ(ramp.at(10), 0);
  EXPECT_EQ(ramp.at(11), 1.0 / 3);
  EXPECT_EQ(ramp.at(12), 2.0 / 3);
  EXPECT_EQ(ramp.at(13), 1);
  EXPECT_EQ(ramp.at(1000), 1);
}

// The numbers of a mask, by hand: m on new coordinates, and what they sum to.
TEST(GrowthMasks, FactorsAndTheirSum) {
  const ModelConfig config = test::tiny_config("grouped_differential");  // 12, 20, 6 heads of 8
  GrowthMasks masks(config, layer_part(config, {.stage = whole_model(config)}), DType::f64,
                    Device{});
  const auto expect_mask = [](const Tensor& factors, std::int64_t begin, std::int64_t end,
                              double m) {
    for (std::int64_t i = 0; i < factors.elements(); ++i) {
      ASSERT_EQ(factors.data<double>()[i], i >= begin && i < end ? m : 1) << i;
    }
  };
  for (const double m : {0.0, 0.25, 0.75}) {
    masks.set(
        {.hidden = {{8, 12}}, .feed_forward = {{5, 6}}, .heads = {{1, 3}}, .layers = {{1, 2}}}, m);
    EXPECT_EQ(masks.hidden().sum, 8 + 4 * m);
    const LayerMasks layer = masks.layer(1);
    EXPECT_EQ(layer.feed_forward.sum, 19 + m);
    EXPECT_EQ(layer.layer, m);
    EXPECT_EQ(masks.layer(0).layer, 1);
    expect_mask(masks.hidden().value, 8, 12, m);
    expect_mask(layer.feed_forward.value, 5, 6, m);
    const std::int64_t width = config.attention.value_dim();
    expect_mask(layer.heads, width, 3 * width, m);
  }
}

}  // namespace
}  // namespace gda
