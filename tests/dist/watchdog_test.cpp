#include "dist/watchdog.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "gda/core/error.h"

namespace gda::dist {
namespace {

using namespace std::chrono_literals;

// A watchdog whose end of the process is a message.
class WatchdogTest : public ::testing::Test {
 protected:
  WatchdogOptions options(std::chrono::milliseconds timeout) {
    return {.rank_name = [] { return "rank 1"; },
            .size = 4,
            .timeout = timeout,
            .grace = 0ms,
            .give_up = [this](auto message) { given_up_.set_value(message); }};
  }
  std::string message() {
    auto future = given_up_.get_future();
    return future.wait_for(20s) == std::future_status::ready ? future.get() : "nothing";
  }

 private:
  std::promise<std::string> given_up_;
};

OperationInfo info(const char* what, std::int64_t number) {
  return {.what = what, .bytes = 4096, .step = 12, .number = number};
}

TEST_F(WatchdogTest, OperationsThatEndAreLeftAlone) {
  std::atomic<int> asked = 0;
  Watchdog watchdog(options(20s));
  for (int i = 0; i < 40; ++i) {
    watchdog.watch(info("all_gather fp32[1024]", i), [&] { return ++asked % 3 == 0; });
  }
  watchdog.drain();
  EXPECT_EQ(asked, 120);
}

TEST_F(WatchdogTest, ItsThreadBeginsBeforeItAsks) {
  std::thread::id thread;
  WatchdogOptions watched = options(20s);
  watched.begin = [&] { thread = std::this_thread::get_id(); };
  Watchdog watchdog(watched);
  watchdog.watch(info("all_gather fp32[1024]", 0), [&] {
    EXPECT_EQ(std::this_thread::get_id(), thread);
    return true;
  });
  watchdog.drain();
}

TEST_F(WatchdogTest, AThreadThatCannotBeginIsAFault) {
  WatchdogOptions watched = options(20s);
  watched.begin = [] { fail<DeviceError>("[device] cudaSetDevice failed"); };
  Watchdog watchdog(watched);
  watchdog.watch(info("all_gather fp32[1024]", 0), [] { return true; });
  EXPECT_EQ(message(),
            "rank 1 of 4: the watch over its operations failed: [device] cudaSetDevice failed");
}

TEST_F(WatchdogTest, NamesTheOperationThatDoesNotEnd) {
  std::atomic<bool> ended = false;
  Watchdog watchdog(options(50ms));
  watchdog.watch(info("all_gather fp32[1024]", 6), [] { return true; });
  watchdog.watch(info("reduce_scatter fp32[1024]", 7), [&] { return ended.load(); });
  watchdog.watch(info("all_gather fp32[1024]", 8), [] { return true; });
  EXPECT_EQ(message(),
            "rank 1 of 4: reduce_scatter fp32[1024] (4096 bytes, operation 7, step 12) did not "
            "finish within 0.05 s; the ranks that wait in another operation, or in none, are the "
            "ones to look at");
  watchdog.drain();  // does not wait for what will not end
}

TEST_F(WatchdogTest, AsksNothingOnceItIsStopped) {
  std::atomic<bool> stopped = false;
  Watchdog watchdog(options(20s));
  watchdog.watch(info("all_gather fp32[1024]", 6), [&] {
    EXPECT_FALSE(stopped);
    return false;
  });
  watchdog.stop();
  stopped = true;
  std::this_thread::sleep_for(20ms);
  watchdog.drain();  // waits for nothing any more
}

// The time of one that is in line counts from the end of the one before.
TEST_F(WatchdogTest, WaitingInLineIsNotLate) {
  const auto begin = std::chrono::steady_clock::now();
  const auto after = [&](std::chrono::milliseconds wait) {
    return [begin, wait] { return std::chrono::steady_clock::now() - begin > wait; };
  };
  Watchdog watchdog(options(1500ms));
  watchdog.watch(info("first", 1), after(1000ms));
  watchdog.watch(info("second", 2), after(2000ms));
  watchdog.drain();
  EXPECT_GT(std::chrono::steady_clock::now() - begin, 2000ms);
}

TEST_F(WatchdogTest, AnErrorOfTheDeviceEndsIt) {
  Watchdog watchdog(options(20s));
  watchdog.watch(info("all_reduce fp64[2]", 3), []() -> bool { throw DeviceError("it is gone"); });
  EXPECT_EQ(
      message(),
      "rank 1 of 4: all_reduce fp64[2] (4096 bytes, operation 3, step 12) failed: it is gone");
}

}  // namespace
}  // namespace gda::dist
