#include "dist/reduce.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "gda/core/error.h"

namespace gda::dist {
namespace {

template <class T>
std::vector<T> reduce(const std::vector<std::vector<T>>& terms, Reduction reduction) {
  std::vector<const void*> from;
  for (const auto& term : terms) from.push_back(term.data());
  std::vector<T> to(terms.front().size());
  reduce_in_order(from, to.data(), static_cast<std::int64_t>(to.size()), dtype_of<T>, reduction);
  return to;
}

TEST(ReduceTest, EveryTypeAndReduction) {
  // 1031 elements: two whole blocks and a rest.
  const auto check = [](auto zero) {
    using T = decltype(zero);
    std::vector<std::vector<T>> terms(3, std::vector<T>(1031));
    for (int r = 0; r < 3; ++r) {
      for (int i = 0; i < 1031; ++i) terms[r][i] = T((i * 7 + r * 5) % 11 - 4);
    }
    const auto sum = reduce(terms, Reduction::sum);
    const auto min = reduce(terms, Reduction::min);
    const auto max = reduce(terms, Reduction::max);
    for (int i = 0; i < 1031; ++i) {
      const std::array<float, 3> of = {static_cast<float>(terms[0][i]),
                                       static_cast<float>(terms[1][i]),
                                       static_cast<float>(terms[2][i])};
      ASSERT_EQ(static_cast<float>(sum[i]), of[0] + of[1] + of[2]);
      ASSERT_EQ(static_cast<float>(min[i]), *std::min_element(of.begin(), of.end()));
      ASSERT_EQ(static_cast<float>(max[i]), *std::max_element(of.begin(), of.end()));
    }
  };
  check(float{});
  check(double{});
  check(bfloat16{});
  check(std::int32_t{});
}

TEST(ReduceTest, FloatSumsRoundOnce) {
  // In f32 1 + 2^-24 is 1 (ties to even), twice; in f64 the two halves of an ulp survive and round
  // up.
  const float half_ulp = 0x1p-24F;
  EXPECT_EQ(reduce<float>({{1.0F}, {half_ulp}, {half_ulp}}, Reduction::sum)[0], 1.0F + 0x1p-23F);
}

TEST(ReduceTest, NanStaysWhereverItIs) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Reduction reduction : {Reduction::sum, Reduction::min, Reduction::max}) {
    EXPECT_TRUE(std::isnan(reduce<float>({{nan}, {1.0F}, {2.0F}}, reduction)[0]));
    EXPECT_TRUE(std::isnan(reduce<float>({{1.0F}, {nan}, {2.0F}}, reduction)[0]));
    EXPECT_TRUE(std::isnan(reduce<float>({{1.0F}, {2.0F}, {nan}}, reduction)[0]));
  }
}

TEST(ReduceTest, InPlaceOfOneTerm) {
  std::vector<double> a{1, 2};
  std::vector<double> b{10, 20};
  const std::vector<const void*> from{a.data(), b.data()};
  reduce_in_order(from, b.data(), 2, DType::f64, Reduction::sum);
  EXPECT_EQ(b, (std::vector<double>{11, 22}));
}

TEST(ReduceTest, BfloatSumsRoundOnce) {
  // 1 + 2^-8 is 1 in bf16 (ties to even); in f32 it stays until the next term decides.
  const auto sum = [](std::vector<float> terms) {
    std::vector<std::vector<bfloat16>> from;
    for (const float term : terms) from.push_back({bfloat16(term)});
    return static_cast<float>(reduce(from, Reduction::sum)[0]);
  };
  EXPECT_EQ(sum({1.0F, 0x1p-8F, 0x1p-8F}), 1.0F + 0x1p-7F);
  EXPECT_EQ(sum({1.0F, 0x1p-8F}), 1.0F);
  EXPECT_EQ(sum({1.0F, 0x1p-8F, 0x1p-23F}), 1.0F + 0x1p-7F);
}

}  // namespace
}  // namespace gda::dist
