// The elementary functions of kernels/cpu/isa, compiled here without any instruction set's flags.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "isa/vector_exp2.h"
#include "isa/vector_math.h"

namespace gda::cpu::GDA_ISA {
namespace {

// Distance in units of the last place of the exact result.
double ulps(float actual, double exact) {
  const int exponent = std::max(std::ilogb(exact), -126);
  return std::abs(actual - exact) / std::ldexp(1.0, exponent - 23);
}

float exp2_of(float x) {
  float result[kLanes];
  const Vector y = vector_exp2(splat(x));
  std::memcpy(result, &y, sizeof(result));
  for (int lane = 1; lane < kLanes; ++lane) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(result[0]), std::bit_cast<std::uint32_t>(result[lane]));
  }
  return result[0];
}

TEST(VectorMath, ExpIsWithinTwoUlps) {
  double worst = 0;
  for (int i = 0; i <= 400000; ++i) {
    const auto x = static_cast<float>(-87.3 + i * (88.7 + 87.3) / 400000);
    worst = std::max(worst, ulps(vector_exp(x), std::exp(static_cast<double>(x))));
  }
  EXPECT_LE(worst, 2);
}

TEST(VectorMath, ExpAtTheEnds) {
  EXPECT_EQ(vector_exp(0), 1);
  EXPECT_EQ(vector_exp(-88), 0);
  EXPECT_EQ(vector_exp(-INFINITY), 0);
  EXPECT_GE(vector_exp(INFINITY), 3.4e38F);
  EXPECT_TRUE(std::isnan(vector_exp(NAN)));
}

TEST(VectorMath, Exp2IsWithinTwoUlps) {
  double worst = 0;
  for (int i = 0; i <= 400000; ++i) {
    const auto x = static_cast<float>(-126 + i * 253.0 / 400000);
    worst = std::max(worst, ulps(exp2_of(x), std::exp2(static_cast<double>(x))));
  }
  EXPECT_LE(worst, 2);
}

TEST(VectorMath, Exp2AtTheEnds) {
  EXPECT_EQ(exp2_of(0), 1);
  EXPECT_EQ(exp2_of(-126), std::ldexp(1.0F, -126));
  EXPECT_EQ(exp2_of(-126.5F), 0);
  EXPECT_EQ(exp2_of(-1e30F), 0);
  EXPECT_EQ(exp2_of(-INFINITY), 0);
  EXPECT_EQ(exp2_of(127), std::ldexp(1.0F, 127));
  EXPECT_TRUE(std::isnan(exp2_of(NAN)));
  EXPECT_TRUE(std::isnan(exp2_of(std::nanf("257"))));  // a payload in the low bits
}

}  // namespace
}  // namespace gda::cpu::GDA_ISA
