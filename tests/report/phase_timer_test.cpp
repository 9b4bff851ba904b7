#include "gda/report/phase_timer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <thread>

#include "gda/core/memory.h"
#include "gda/core/stream.h"

namespace gda {
namespace {

double of(const PhaseSeconds& seconds, Phase phase) {
  return seconds[static_cast<std::size_t>(phase)];
}

void pause() {
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

TEST(PhaseTimerTest, InnermostScopeHasTheTime) {
  const auto begin = std::chrono::steady_clock::now();
  PhaseTimer timer;
  {
    const auto backward = timer.scope(Phase::backward);
    pause();
    {
      const auto communication = timer.scope(Phase::communication);
      pause();
    }
    pause();
  }
  pause();
  const PhaseSeconds seconds = timer.take();
  const double passed =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  // A sleep lasts at least as long as it was asked to; how much longer, only the sum bounds.
  EXPECT_GE(of(seconds, Phase::backward), 0.04);
  EXPECT_GE(of(seconds, Phase::communication), 0.02);
  EXPECT_GE(of(seconds, Phase::other), 0.02);
  EXPECT_EQ(of(seconds, Phase::data), 0);
  const double sum = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  EXPECT_LE(sum, passed + 1e-6);
  EXPECT_GE(sum, 0.08);
}

TEST(PhaseTimerTest, TakeBeginsAnew) {
  PhaseTimer timer;
  const auto forward = timer.scope(Phase::forward);
  pause();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_GE(of(timer.take(), Phase::forward), 0.02);
  const PhaseSeconds again = timer.take();
  const double passed =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_LE(of(again, Phase::forward), passed);
  EXPECT_EQ(of(again, Phase::other), 0);  // the scope is still open
}

// Many more phases than marks are kept at first, on a stream that nobody waits for meanwhile.
TEST(PhaseTimerTest, SplitsTheTimeOfADevice) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device is there";
  const Device device{DeviceType::cuda, 0};
  const OwnedStream stream(device);
  const OwnedTensor from(DType::f32, {64}, device);
  const OwnedTensor to(DType::f32, {64}, device);
  const auto begin = std::chrono::steady_clock::now();
  PhaseTimer timer(stream.get());
  for (int i = 0; i < 3000; ++i) {
    const auto forward = timer.scope(Phase::forward);
    copy(stream.get(), from.tensor, to.tensor);
  }
  const PhaseSeconds seconds = timer.take();
  const double passed =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_GT(of(seconds, Phase::forward), 0);
  EXPECT_GT(of(seconds, Phase::other), 0);
  EXPECT_EQ(of(seconds, Phase::backward), 0);
  EXPECT_LE(std::accumulate(seconds.begin(), seconds.end(), 0.0), passed);
  EXPECT_EQ(of(timer.take(), Phase::forward), 0);
}

TEST(PhaseTimerTest, EveryPhaseHasItsName) {
  EXPECT_EQ(name_of(Phase::data), "data");
  EXPECT_EQ(name_of(Phase::forward), "forward");
  EXPECT_EQ(name_of(Phase::backward), "backward");
  EXPECT_EQ(name_of(Phase::communication), "communication");
  EXPECT_EQ(name_of(Phase::optimizer), "optimizer");
  EXPECT_EQ(name_of(Phase::other), "other");
  static_assert(static_cast<std::size_t>(Phase::other) + 1 == kPhases);
}

}  // namespace
}  // namespace gda
