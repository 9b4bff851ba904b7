#include "gda/model/decoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "gda/core/error.h"
#include "model/attention_block.h"
#include "support/tiny_model.h"

namespace gda {
namespace {

using test::tiny_config;
using test::TinyBatch;
using test::TinyModel;

struct Case {
  std::string attention;
  std::string act;
  bool tied;
};

class DecoderTest : public ::testing::TestWithParam<Case> {
 protected:
  ModelConfig config() const {
    return tiny_config(GetParam().attention, GetParam().act, GetParam().tied);
  }
};

std::vector<double> random_direction(const Parameter& parameter) {
  const Philox random(11, RandomPurpose::test, parameter.spec.name);
  std::vector<double> direction(static_cast<std::size_t>(parameter.value.elements()));
  for (std::size_t i = 0; i < direction.size(); ++i) direction[i] = random.normal(i);
  return direction;
}

// d loss / d parameter along a random direction, by central differences, in f64. The truncation
// error is about h^2 * L'''/6 and the rounding error eps * L / h: with h = 1e-5 both stay under
// 1e-8 of the loss's size, so 1e-6 relative leaves room for the third derivative.
TEST_P(DecoderTest, GradientsMatchFiniteDifferences) {
  TinyModel model(config(), DType::f64);
  const TinyBatch batch(model.config);
  model.forward_backward(batch);
  constexpr double kStep = 1e-5;
  for (const Parameter& parameter : model.parameters.all()) {
    const auto direction = random_direction(parameter);
    auto* values = parameter.value.data<double>();
    const auto* gradient = parameter.gradient.data<double>();
    const auto shift = [&](double step) {
      for (std::size_t i = 0; i < direction.size(); ++i) values[i] += step * direction[i];
    };
    double expected = 0;
    for (std::size_t i = 0; i < direction.size(); ++i) expected += gradient[i] * direction[i];
    shift(kStep);
    const double above = model.loss(batch);
    shift(-2 * kStep);
    const double below = model.loss(batch);
    shift(kStep);
    const double measured = (above - below) / (2 * kStep);
    EXPECT_NEAR(measured, expected, 1e-6 * (1 + std::abs(expected))) << parameter.spec.name;
    EXPECT_GT(std::abs(expected), 0) << parameter.spec.name;
  }
}

TEST_P(DecoderTest, RecomputationIsBitEqual) {
  for (const DType compute : {DType::f32, DType::bf16}) {
    TinyModel keep(config(), compute, Recompute::none);
    const TinyBatch batch(keep.config);
    const double loss = keep.forward_backward(batch);
    for (const Recompute policy : {Recompute::selective, Recompute::full}) {
      TinyModel again(config(), compute, policy);
      EXPECT_EQ(again.forward_backward(batch), loss);
      for (std::size_t i = 0; i < keep.parameters.buckets().size(); ++i) {
        const Tensor& a = keep.parameters.buckets()[i].gradients;
        const Tensor& b = again.parameters.buckets()[i].gradients;
        EXPECT_EQ(std::memcmp(a.raw(), b.raw(), a.bytes()), 0) << "bucket " << i;
      }
    }
  }
}

// Row by row, the logits of one row are all that there is; a block of the arena, 4096 bytes, may be
// filled otherwise. The losses are those of one chunk but for the order of sums: of 1999
// exponentials and of 12 products a logit, in f64 below (1999 + 12 * 10) * 2^-53 = 3e-13.
TEST_P(DecoderTest, LogitsTakeNoMoreMemoryThanToldTo) {
  ModelConfig wide = config();
  wide.vocab_size = 1999;
  TinyModel model(wide, DType::f64);
  const TinyBatch batch(wide);
  Decoder by_row(wide, model.parameters, Recompute::none, {.max_logit_bytes = 1});
  constexpr std::int64_t kRows = TinyBatch::kBatch * TinyBatch::kLength;
  const auto run = [&](Decoder& decoder, const OwnedTensor& loss) {
    Arena arena(Device{}, 4096);
    decoder.forward_backward({.stream = {}, .arena = arena}, batch.view(), batch.target.tensor, 1,
                             loss.tensor);
    return arena.peak();
  };
  const OwnedTensor together(DType::f64, {kRows});
  const OwnedTensor apart(DType::f64, {kRows});
  const std::size_t most = run(model.decoder, together);
  const std::size_t least = run(by_row, apart);
  EXPECT_LE(least + (kRows - 1) * 1999 * sizeof(double), most + 4096);
  for (std::int64_t row = 0; row < kRows; ++row) {
    EXPECT_NEAR(apart.tensor.data<double>()[row], together.tensor.data<double>()[row], 1e-12);
  }
}

// Documents are separate: the first document's losses do not change with the second's tokens.
TEST_P(DecoderTest, DocumentsDoNotSeeEachOther) {
  TinyModel model(config(), DType::f32);
  const TinyBatch batch(model.config);
  const OwnedTensor before(DType::f32, {TinyBatch::kBatch * TinyBatch::kLength});
  const OwnedTensor after(DType::f32, {TinyBatch::kBatch * TinyBatch::kLength});
  model.decoder.forward_loss(model.context(), batch.view(), batch.target.tensor, before.tensor);
  auto* token = batch.token.tensor.data<std::int32_t>();
  token[1] = (token[1] + 1) % static_cast<std::int32_t>(model.config.vocab_size);
  model.decoder.forward_loss(model.context(), batch.view(), batch.target.tensor, after.tensor);
  const float* a = before.tensor.data<float>();
  const float* b = after.tensor.data<float>();
  for (std::int64_t row = 0; row < TinyBatch::kBatch * TinyBatch::kLength; ++row) {
    const bool same_document = row >= 1 && row < 3;
    if (same_document) {
      EXPECT_NE(a[row], b[row]) << "row " << row;
    } else {
      EXPECT_EQ(a[row], b[row]) << "row " << row;
    }
  }
}

// The cached path gives the logits of the whole-sequence path: f64, so that only the order of sums
// differs (1e-12 relative to logits of order 1).
TEST_P(DecoderTest, CachedGenerationMatchesTheWholeSequence) {
  TinyModel model(config(), DType::f64);
  TinyBatch batch(model.config);
  constexpr std::int64_t kTokens = 14;
  const OwnedTensor position(DType::i32, {kTokens});
  for (std::int32_t i = 0; i < kTokens; ++i) position.tensor.data<std::int32_t>()[i] = i;
  const Tensor token = batch.token.tensor.rows(0, kTokens);
  const std::int64_t vocabulary = model.config.vocab_size;
  const OwnedTensor whole(DType::f64, {kTokens, vocabulary});
  model.decoder.forward_logits(
      model.context(),
      {.batch = 1, .length = kTokens, .token = token, .position = position.tensor, .first_key = {}},
      whole.tensor);
  KvCache cache(model.config, DType::f64, kTokens);
  const OwnedTensor logits(DType::f64, {1, vocabulary});
  const auto expect_row = [&](std::int64_t row) {
    for (std::int64_t v = 0; v < vocabulary; ++v) {
      EXPECT_NEAR(logits.tensor.data<double>()[v],
                  whole.tensor.data<double>()[row * vocabulary + v], 1e-12);
    }
  };
  model.decoder.forward_cached(model.context(), token.rows(0, 3), cache, logits.tensor);
  expect_row(2);
  for (std::int64_t i = 3; i < kTokens; ++i) {
    model.decoder.forward_cached(model.context(), token.rows(i, 1), cache, logits.tensor);
    expect_row(i);
  }
  EXPECT_THROW(
      model.decoder.forward_cached(model.context(), token.rows(0, 1), cache, logits.tensor),
      OpError);
}

INSTANTIATE_TEST_SUITE_P(Types, DecoderTest,
                         ::testing::Values(Case{"softmax", "silu", false},
                                           Case{"softmax", "poly_norm", true},
                                           Case{"differential", "silu", false},
                                           Case{"grouped_differential", "silu", false},
                                           Case{"grouped_differential", "poly_norm", true},
                                           Case{"differential_v2", "silu", false}),
                         [](const auto& instance) {
                           return instance.param.attention + "_" + instance.param.act +
                                  (instance.param.tied ? "_tied" : "");
                         });

// Which key and value head each query head reads, written down by hand.
TEST(AttentionShapeOf, ReadsTheHeadsOfItsGroup) {
  const auto expect_heads = [](const AttentionConfig& config, const std::vector<int>& keys,
                               const std::vector<int>& values) {
    const AttentionShape shape = attention_shape(config);
    EXPECT_EQ(shape.key_head, keys);
    EXPECT_EQ(shape.value_head, values);
  };
  AttentionConfig softmax = test::tiny_config("softmax").attention;
  softmax.num_attention_heads = 6;
  softmax.num_key_value_heads = 2;
  expect_heads(softmax, {0, 0, 0, 1, 1, 1}, {0, 0, 0, 1, 1, 1});
  // Stripes of signal heads and their noise head; a group has a signal and a noise key.
  AttentionConfig grouped = test::tiny_config("grouped_differential").attention;
  expect_heads(grouped, {0, 0, 0, 1, 2, 2, 2, 3}, {0, 0, 0, 0, 1, 1, 1, 1});
  grouped.signal_heads = 8;
  grouped.noise_heads = 4;
  expect_heads(grouped, {0, 0, 1, 0, 0, 1, 2, 2, 3, 2, 2, 3}, {0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1});
}

// Grouped differential attention with ratio 1 is differential attention, bit for bit.
TEST(Decoder, RatioOneIsDifferential) {
  ModelConfig grouped = tiny_config("differential");
  grouped.attention.type = AttentionType::grouped_differential;
  TinyModel a(tiny_config("differential"), DType::f32);
  TinyModel b(grouped, DType::f32);
  const TinyBatch batch(a.config);
  EXPECT_EQ(a.forward_backward(batch), b.forward_backward(batch));
  for (std::size_t i = 0; i < a.parameters.buckets().size(); ++i) {
    const Tensor& x = a.parameters.buckets()[i].gradients;
    const Tensor& y = b.parameters.buckets()[i].gradients;
    EXPECT_EQ(std::memcmp(x.raw(), y.raw(), x.bytes()), 0);
  }
}

// Two passes over half a batch each accumulate the gradient of the whole.
TEST(Decoder, GradientsAccumulate) {
  TinyModel once(tiny_config("grouped_differential"), DType::f64);
  TinyModel twice(tiny_config("grouped_differential"), DType::f64);
  const TinyBatch batch(once.config);
  once.forward_backward(batch, 1.0);
  twice.forward_backward(batch, 0.25);
  twice.forward_backward(batch, 0.75);
  for (std::size_t i = 0; i < once.parameters.buckets().size(); ++i) {
    const Tensor& x = once.parameters.buckets()[i].gradients;
    const Tensor& y = twice.parameters.buckets()[i].gradients;
    for (std::int64_t j = 0; j < x.elements(); ++j) {
      ASSERT_NEAR(x.data<double>()[j], y.data<double>()[j], 1e-12);
    }
  }
}

TEST(Decoder, ReportsOneLambdaALayer) {
  TinyModel model(tiny_config("grouped_differential"), DType::f32);
  EXPECT_EQ(model.decoder.lambdas(model.context()).size(), 2U);
  TinyModel softmax(tiny_config("softmax"), DType::f32);
  EXPECT_TRUE(softmax.decoder.lambdas(softmax.context()).empty());
}

}  // namespace
}  // namespace gda
