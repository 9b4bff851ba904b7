#include "gda/train/loss_guard.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace gda {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

TEST(LossGuard, SkipsWhatIsNotFinite) {
  LossGuard guard({});
  EXPECT_EQ(guard.check(2.0, 1.0), "");
  EXPECT_EQ(guard.check(kNan, 1.0), "the loss is nan");
  EXPECT_EQ(guard.check(2.0, kInf), "the gradient norm is inf");
  EXPECT_EQ(guard.skipped(), 2);
}

TEST(LossGuard, SkipsSpikesOnceTheWindowIsFull) {
  LossGuard guard({.spike_sigmas = 3, .window = 4, .max_consecutive = 10});
  EXPECT_EQ(guard.check(100.0, 1.0), "");  // nothing to compare with yet
  for (const double loss : {2.0, 2.2, 1.8, 2.0}) EXPECT_EQ(guard.check(loss, 1.0), "");
  const std::string why = guard.check(9.0, 1.0);
  EXPECT_NE(why.find("the loss 9 is"), std::string::npos) << why;
  EXPECT_NE(why.find("of the last 4 steps, 2"), std::string::npos) << why;
  // A skipped step does not enter the window, and a fall in the loss is no spike.
  EXPECT_NE(guard.check(9.0, 1.0), "");
  EXPECT_EQ(guard.check(0.1, 1.0), "");
}

// With one step less than the window anything is taken, a spike to nine times the losses too.
TEST(LossGuard, TakesEverythingUntilTheWindowIsFull) {
  for (const int before : {1, 2, 3}) {
    LossGuard guard({.spike_sigmas = 3, .window = 4, .max_consecutive = 10});
    for (int i = 0; i < before; ++i) EXPECT_EQ(guard.check(2.0 + 0.1 * i, 1.0), "");
    EXPECT_EQ(guard.check(18.0, 1.0), "") << before;
    EXPECT_EQ(guard.skipped(), 0);
  }
}

TEST(LossGuard, EndsTheRunAfterTooManyInARow) {
  LossGuard guard({.spike_sigmas = 0, .window = 4, .max_consecutive = 3});
  EXPECT_NE(guard.check(kNan, 1.0), "");
  EXPECT_NE(guard.check(kNan, 1.0), "");
  EXPECT_EQ(guard.check(1.0, 1.0), "");  // an accepted step starts the count again
  EXPECT_EQ(guard.consecutive(), 0);
  EXPECT_NE(guard.check(kNan, 1.0), "");
  EXPECT_NE(guard.check(kNan, 1.0), "");
  EXPECT_FALSE(guard.is_exhausted());
  EXPECT_NE(guard.check(kNan, 1.0), "");
  EXPECT_TRUE(guard.is_exhausted());
  EXPECT_EQ(guard.consecutive(), 3);
}

TEST(LossGuard, GoesOnFromItsState) {
  const LossGuardOptions options{.spike_sigmas = 3, .window = 3, .max_consecutive = 10};
  LossGuard whole(options);
  for (const double loss : {2.0, 2.1, 1.9}) whole.check(loss, 1.0);
  LossGuard resumed(options);
  resumed.restore(whole.state());
  EXPECT_EQ(whole.check(5.0, 1.0), resumed.check(5.0, 1.0));
  EXPECT_EQ(resumed.skipped(), 1);
}

}  // namespace
}  // namespace gda
