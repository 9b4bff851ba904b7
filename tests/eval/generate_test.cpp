#include "gda/eval/generate.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "gda/core/error.h"
#include "support/tiny_model.h"

namespace gda {
namespace {

const std::vector<double> kLogits = {std::log(0.1), std::log(0.4), std::log(0.2), std::log(0.3)};

std::array<double, 4> frequencies(const SamplingOptions& options, int draws) {
  std::array<double, 4> counts{};
  for (int i = 0; i < draws; ++i) {
    const auto token = sample_token(kLogits, options, static_cast<std::uint64_t>(i));
    counts[static_cast<std::size_t>(token)] += 1.0 / draws;
  }
  return counts;
}

constexpr int kDraws = 20000;
// Five standard errors of a frequency near 1/2.
const double kTolerance = 5 * std::sqrt(0.25 / kDraws);

TEST(SampleToken, FollowsTheDistribution) {
  const auto counts = frequencies({}, kDraws);
  EXPECT_NEAR(counts[0], 0.1, kTolerance);
  EXPECT_NEAR(counts[1], 0.4, kTolerance);
  EXPECT_NEAR(counts[2], 0.2, kTolerance);
}

TEST(SampleToken, TemperatureSharpens) {
  const auto counts = frequencies({.temperature = 0.5}, kDraws);  // squares: 1 16 4 9 of 30
  EXPECT_NEAR(counts[1], 16.0 / 30, kTolerance);
  EXPECT_EQ(sample_token(kLogits, {.temperature = 0}, 0), 1);
}

TEST(SampleToken, TopKKeepsTheLikeliest) {
  const auto counts = frequencies({.top_k = 2}, kDraws);
  EXPECT_EQ(counts[0], 0);
  EXPECT_EQ(counts[2], 0);
  EXPECT_NEAR(counts[1], 4.0 / 7, kTolerance);
}

TEST(SampleToken, TopPKeepsTheSmallestSetThatReachesIt) {
  const auto counts = frequencies({.top_p = 0.65}, kDraws);  // 0.4 + 0.3 reach 0.65
  EXPECT_EQ(counts[0], 0);
  EXPECT_EQ(counts[2], 0);
  EXPECT_NEAR(counts[3], 3.0 / 7, kTolerance);
  const auto one = frequencies({.top_p = 0.3}, 100);
  EXPECT_NEAR(one[1], 1.0, 1e-12);
}

TEST(Generate, IsAFunctionOfTheSeedAndStopsWhereAsked) {
  test::TinyModel model(test::tiny_config("grouped_differential"), DType::f32);
  const std::vector<std::int32_t> prompt = {3, 1, 4};
  const auto run = [&](std::uint64_t seed, std::int64_t tokens) {
    GenerateOptions options;
    options.sampling.seed = seed;
    options.max_tokens = tokens;
    return generate(model.context(), model.decoder, prompt, options);
  };
  const auto first = run(1, 10);
  EXPECT_EQ(first.size(), 10U);
  EXPECT_EQ(first, run(1, 10));
  EXPECT_NE(first, run(2, 10));
  // 32 positions: the prompt and 29 more have a place; the token after the last is drawn too.
  EXPECT_EQ(run(1, 1000).size(), 30U);
  GenerateOptions options;
  options.sampling.seed = 1;
  options.stop_token = first[4];
  const auto stopped = generate(model.context(), model.decoder, prompt, options);
  EXPECT_LE(stopped.size(), 4U);
  EXPECT_THROW(generate(model.context(), model.decoder, {}, options), ConfigError);
}

}  // namespace
}  // namespace gda
