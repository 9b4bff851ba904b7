#include "gda/data/mixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "data/scratch.h"

namespace gda {
namespace {

Timeline constant(double value) {
  return Timeline{{{0, value}}};
}

// Walks through samples 0 ... n - 1 as a run would and checks every promise of mixture.h.
void check_walk(const std::vector<Timeline>& weights, std::int64_t batch_size, std::int64_t n) {
  const Mixture mixture(weights, [&](std::int64_t step) { return step * batch_size; });
  const auto sources = weights.size();
  std::vector<std::int64_t> count(sources, 0);
  std::vector<double> quota(sources, 0.0);
  // One sample a level of the tree, and the rounding of n additions of a share below 1.
  const double allowed = std::bit_width(sources - 1) + 1e-9 * static_cast<double>(n);
  for (std::int64_t g = 0; g < n; ++g) {
    double sum = 0;
    for (std::size_t k = 0; k < sources; ++k) {
      const double share = mixture.share(static_cast<int>(k), g);
      EXPECT_EQ(mixture.count(static_cast<int>(k), g), count[k]) << g;
      ASSERT_LE(std::abs(static_cast<double>(count[k]) - quota[k]), allowed) << g << " of " << k;
      quota[k] += share;
      sum += share;
    }
    EXPECT_DOUBLE_EQ(sum, 1.0);
    const auto choice = mixture.at(g);
    ASSERT_EQ(choice.index, count[static_cast<std::size_t>(choice.source)]) << g;
    ++count[static_cast<std::size_t>(choice.source)];
  }
}

TEST(Mixture, OneSourceGivesEverything) {
  const Mixture mixture({constant(3)}, [](std::int64_t step) { return step * 4; });
  EXPECT_EQ(mixture.at(12345678901234).index, 12345678901234);
  EXPECT_EQ(mixture.count(0, 77), 77);
}

TEST(Mixture, TracksConstantWeights) {
  check_walk({constant(1), constant(1)}, 4, 1000);
  check_walk({constant(0.7), constant(0.2), constant(0.1)}, 3, 3000);
  check_walk({constant(1), constant(1e-4), constant(0), constant(5), constant(0.3)}, 7, 5000);
}

TEST(Mixture, TracksMovingWeights) {
  const Timeline falls{{{0, 0.9}, {100, 0.1}}};
  const Timeline rises{{{20, 0.0}, {300, 2.0}}};
  check_walk({falls, constant(0.5)}, 3, 1500);
  check_walk({falls, rises, constant(0.25), constant(0.1)}, 5, 3000);
  // More steps than plateaus: shares are those of the middle of a plateau.
  check_walk({Timeline{{{0, 1.0}, {5000, 0.0}}}, constant(1)}, 1, 6000);
}

TEST(Mixture, FollowsTheTimelinesStepByStep) {
  const Timeline falls{{{0, 0.9}, {100, 0.1}}};
  const Mixture mixture({falls, constant(0.5)}, [](std::int64_t step) { return step * 8; });
  for (const std::int64_t step : {0, 1, 50, 99, 100, 1000}) {
    const double exact = falls.at(step) / (falls.at(step) + 0.5);
    // A share is a multiple of 2^-30, off by at most one unit for each source.
    EXPECT_NEAR(mixture.share(0, step * 8), exact, 0x1p-29) << step;
    EXPECT_NEAR(mixture.share(0, step * 8 + 7), exact, 0x1p-29) << step;
  }
}

// Where there are more steps than plateaus, a plateau's share is that of its middle.
TEST(Mixture, PlateausHaveTheWeightsOfTheirMiddle) {
  const Timeline falls{{{0, 1.0}, {10000, 0.0}}};
  const Mixture mixture({falls, constant(1)}, [](std::int64_t step) { return step; });
  std::int64_t longest = 0;
  for (std::int64_t begin = 0; begin < 10000;) {
    std::int64_t end = begin;
    while (end < 10000 && mixture.share(0, end) == mixture.share(0, begin)) ++end;
    const double weight = 1 - 0.5 * static_cast<double>(begin + end - 1) / 10000;
    EXPECT_NEAR(mixture.share(0, begin), weight / (weight + 1), 0x1p-29) << begin << " to " << end;
    longest = std::max(longest, end - begin);
    begin = end;
  }
  EXPECT_GT(longest, 1);
}

TEST(Mixture, AcceptsGrowingBatches) {
  const auto first_sample = [](std::int64_t step) {
    return step <= 10 ? step * 2 : 20 + (step - 10) * 16;
  };
  const Timeline rises{{{0, 0.1}, {40, 0.9}}};
  const Mixture mixture({rises, constant(0.5)}, first_sample);
  std::int64_t count = 0;
  for (std::int64_t g = 0; g < 1000; ++g) count += mixture.at(g).source == 0 ? 1 : 0;
  EXPECT_EQ(count, mixture.count(0, 1000));
  EXPECT_NEAR(mixture.share(0, first_sample(20)), rises.at(20) / (rises.at(20) + 0.5), 0x1p-29);
}

TEST(Mixture, SwitchesSourcesOnAndOff) {
  const Timeline off{{{0, 1.0}, {9, 1.0}, {10, 0.0}}};
  const Timeline on{{{0, 0.0}, {9, 0.0}, {10, 1.0}}};
  const Mixture mixture({off, on}, [](std::int64_t step) { return step * 5; });
  for (std::int64_t g = 0; g < 200; ++g) EXPECT_EQ(mixture.at(g).source, g < 50 ? 0 : 1) << g;
}

TEST(Mixture, StaysExactAfterYears) {
  const Mixture mixture({constant(0.3), constant(0.3), constant(0.4)},
                        [](std::int64_t step) { return step * 1024; });
  const std::int64_t far = std::int64_t{1} << 50;
  std::int64_t sum = 0;
  for (int k = 0; k < 3; ++k) {
    sum += mixture.count(k, far);
    EXPECT_NEAR(static_cast<double>(mixture.count(k, far)),
                mixture.share(k, far) * static_cast<double>(far), 2.0);
  }
  EXPECT_EQ(sum, far);
  for (std::int64_t g = far; g < far + 100; ++g) {
    const auto choice = mixture.at(g);
    EXPECT_EQ(mixture.count(choice.source, g), choice.index);
    EXPECT_EQ(mixture.count(choice.source, g + 1), choice.index + 1);
  }
}

TEST(Mixture, RefusesWeightsThatCannotBeMixed) {
  const auto samples = [](std::int64_t step) { return step; };
  EXPECT_CONTAINS(test::message_of<ConfigError>([&] { Mixture({}, samples); }),
                  "at least one source is needed");
  EXPECT_CONTAINS(test::message_of<ConfigError>([&] {
                    Mixture({constant(1), constant(-1)}, samples);
                  }),
                  "data.sources[1].weight: expected a number of at least 0, found -1");
  EXPECT_CONTAINS(test::message_of<ConfigError>([&] {
                    Mixture({Timeline{{{0, 1.0}, {50, 0.0}}}}, samples);
                  }),
                  "the weights must have a positive sum at every step, at step 50 it is 0");
}

}  // namespace
}  // namespace gda
