#include "gda/core/philox.h"

#include <gtest/gtest.h>

#include <cmath>

namespace gda {
namespace {

// Known answers of Random123's kat_vectors for philox4x32-10 with a zero key and counter need a
// zero name and purpose; the purpose is never zero, so the property tested here is the statistics
// and the independence of streams.
TEST(Philox, IsAPureFunctionOfItsArguments) {
  const Philox a(7, RandomPurpose::initialisation, "w");
  const Philox b(7, RandomPurpose::initialisation, "w");
  EXPECT_EQ(a.block(123), b.block(123));
  EXPECT_NE(a.block(123), a.block(124));
}

TEST(Philox, StreamsDifferBySeedPurposeAndName) {
  const auto base = Philox(7, RandomPurpose::initialisation, "w").bits(0);
  EXPECT_NE(base, Philox(8, RandomPurpose::initialisation, "w").bits(0));
  EXPECT_NE(base, Philox(7, RandomPurpose::data_order, "w").bits(0));
  EXPECT_NE(base, Philox(7, RandomPurpose::initialisation, "v").bits(0));
}

TEST(Philox, NormalHasZeroMeanAndUnitVariance) {
  const Philox random(1, RandomPurpose::test);
  constexpr int kCount = 20000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kCount; ++i) {
    const double x = random.normal(static_cast<std::uint64_t>(i));
    sum += x;
    squares += x * x;
  }
  // Five standard errors of the mean (1/sqrt n) and of the variance (sqrt(2/n)).
  EXPECT_NEAR(sum / kCount, 0.0, 5.0 / std::sqrt(kCount));
  EXPECT_NEAR(squares / kCount, 1.0, 5.0 * std::sqrt(2.0 / kCount));
}

TEST(Philox, UniformStaysInTheHalfOpenInterval) {
  const Philox random(1, RandomPurpose::test);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    EXPECT_GE(random.uniform(i), 0.0);
    EXPECT_LT(random.uniform(i), 1.0);
  }
}

}  // namespace
}  // namespace gda
