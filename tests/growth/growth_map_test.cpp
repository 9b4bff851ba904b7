#include "gda/growth/growth_map.h"

#include <gtest/gtest.h>

#include <vector>

namespace gda {
namespace {

TensorMap two_by_three() {
  TensorMap map;
  map.target.name = "w";
  map.target.shape = {2, 3};
  map.source = "w";
  map.rows.entries = {{.source = 1, .scale = 2, .gradient_scale = 0.5}, {.source = 0}};
  map.columns.entries = {{.source = 0}, {.source = AxisMap::kFilled}, {.source = 1, .scale = 3}};
  return map;
}

const std::vector<double> kSource = {1, 2, 3, 4};  // [2, 2]

TEST(GrowthMap, CopiesScalesAndFills) {
  std::vector<double> target(6);
  apply(two_by_three(), GrowthState::value, {}, kSource, 2, target);
  EXPECT_EQ(target, (std::vector<double>{6, 0, 24, 1, 0, 6}));
}

TEST(GrowthMap, MomentsFollowTheGradient) {
  std::vector<double> target(6);
  apply(two_by_three(), GrowthState::first_moment, {}, kSource, 2, target);
  EXPECT_EQ(target, (std::vector<double>{1.5, 0, 2, 1, 0, 2}));
  apply(two_by_three(), GrowthState::second_moment, {}, kSource, 2, target);
  EXPECT_EQ(target, (std::vector<double>{0.75, 0, 1, 1, 0, 2}));
}

TEST(GrowthMap, FillsWithNormalNumbersForValuesOnly) {
  TensorMap map = two_by_three();
  map.fill_stddev = 0.5;
  std::vector<double> target(6);
  apply(map, GrowthState::value, {}, kSource, 2, target);
  EXPECT_NE(target[1], 0);
  EXPECT_NE(target[1], target[4]);
  apply(map, GrowthState::first_moment, {}, kSource, 2, target);
  EXPECT_EQ(target[1], 0);
}

TEST(GrowthMap, PairedNoiseSumsToZero) {
  TensorMap map = two_by_three();
  map.noise = {{.plus = 0, .minus = 2, .width = 1}};
  std::vector<double> plain(6);
  std::vector<double> noisy(6);
  apply(map, GrowthState::value, {.decibels = 0}, kSource, 2, plain);
  apply(map, GrowthState::value, {.decibels = 10}, kSource, 2, noisy);
  EXPECT_NE(noisy[0], plain[0]);
  EXPECT_DOUBLE_EQ(noisy[0] + noisy[2], plain[0] + plain[2]);
  EXPECT_EQ(noisy[1], plain[1]);
}

TEST(AxisMap, Composes) {
  AxisMap first;
  first.entries = {{.source = 2, .scale = 2, .gradient_scale = 3}, {.source = AxisMap::kFilled}};
  AxisMap second;
  second.entries = {{.source = 1}, {.source = 0, .scale = 5, .gradient_scale = 7}};
  const AxisMap both = compose(first, second);
  EXPECT_EQ(both.entries[0].source, AxisMap::kFilled);
  EXPECT_EQ(both.entries[1], (AxisMap::Entry{.source = 2, .scale = 10, .gradient_scale = 21}));
  EXPECT_TRUE(AxisMap::identity(4).is_identity());
  EXPECT_FALSE(second.is_identity());
}

}  // namespace
}  // namespace gda
