#include "gda/train/stop_request.h"

#include <gtest/gtest.h>

#include <csignal>
#include <thread>

#include "gda/core/error.h"

namespace gda {
namespace {

TEST(StopRequestTest, EachSignalIsNoted) {
  for (const auto& [signal, reason] :
       {std::pair{SIGTERM, StopReason::sigterm}, std::pair{SIGINT, StopReason::sigint},
        std::pair{SIGHUP, StopReason::sighup}, std::pair{SIGUSR1, StopReason::sigusr1},
        std::pair{SIGUSR2, StopReason::sigusr2}, std::pair{SIGXCPU, StopReason::sigxcpu}}) {
    const StopRequest stop;
    EXPECT_EQ(stop.here(), StopReason::none);
    std::raise(signal);
    EXPECT_EQ(stop.here(), reason) << describe(reason);
  }
}

TEST(StopRequestTest, TheFirstSignalIsTheReason) {
  const StopRequest stop;
  std::raise(SIGUSR1);
  std::raise(SIGTERM);
  std::raise(SIGTERM);
  EXPECT_EQ(stop.here(), StopReason::sigusr1);
}

TEST(StopRequestTest, SecondInterruptEndsTheProcess) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        const StopRequest stop;
        std::raise(SIGINT);
        if (stop.here() != StopReason::sigint) std::exit(1);
        std::raise(SIGINT);
        std::exit(2);
      },
      ::testing::KilledBySignal(SIGINT), "");
}

TEST(StopRequestTest, HandlersComeBack) {
  ASSERT_NE(std::signal(SIGUSR1, SIG_IGN), SIG_ERR);
  { const StopRequest stop; }
  std::raise(SIGUSR1);  // ignored again; the default would end the test
  EXPECT_EQ(std::signal(SIGUSR1, SIG_DFL), SIG_IGN);
}

// What nohup starts ignores SIGHUP, and goes on.
TEST(StopRequestTest, AnIgnoredHangUpStaysIgnored) {
  ASSERT_NE(std::signal(SIGHUP, SIG_IGN), SIG_ERR);
  {
    const StopRequest stop;
    std::raise(SIGHUP);
    EXPECT_EQ(stop.here(), StopReason::none);
  }
  EXPECT_EQ(std::signal(SIGHUP, SIG_DFL), SIG_IGN);
}

TEST(StopRequestTest, AClosedPipeIsNoReason) {
  const auto before = std::signal(SIGPIPE, SIG_DFL);
  {
    const StopRequest stop;
    std::raise(SIGPIPE);
    EXPECT_EQ(stop.here(), StopReason::none);
  }
  EXPECT_EQ(std::signal(SIGPIPE, before), SIG_DFL);
}

TEST(StopRequestTest, TimeLimit) {
  StopRequest stop;
  stop.set_time_limit(60);
  EXPECT_EQ(stop.here(), StopReason::none);
  stop.set_time_limit(0.05 / 60);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  EXPECT_EQ(stop.here(), StopReason::time_limit);
  const auto self = make_self_communicator();
  EXPECT_EQ(stop.anywhere(*self), StopReason::time_limit);
}

TEST(StopRequestTest, BadUse) {
  try {
    StopRequest stop;
    stop.set_time_limit(0.0);
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "train.max_minutes must be above 0, it is 0");
  }
  const StopRequest stop;
  EXPECT_THROW(StopRequest(), Error);
}

TEST(StopRequestTest, ReasonsHaveNames) {
  EXPECT_EQ(describe(StopReason::none), "nothing");
  EXPECT_EQ(describe(StopReason::time_limit), "the time limit (train.max_minutes)");
  EXPECT_EQ(describe(StopReason::sigusr1), "SIGUSR1");
  EXPECT_EQ(describe(StopReason::sigint), "SIGINT (Ctrl-C)");
  EXPECT_EQ(describe(StopReason::sigterm), "SIGTERM");
  EXPECT_EQ(describe(StopReason::sighup), "SIGHUP");
}

}  // namespace
}  // namespace gda
