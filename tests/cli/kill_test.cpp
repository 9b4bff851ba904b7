// kill -9 of one rank of two loses nothing but the steps since the last whole checkpoint.
#include <fmt/format.h>
#include <signal.h>

#include <chrono>

#include "cli/run_folder.h"

namespace gda::test {
namespace {

constexpr std::int64_t kStepsAfterKill = 20;  // after it was killed
// mpirun notices a dead child at once and ends the others; far below the time limit of operations
// between processes, which is the other way to notice.
constexpr double kSoon = 90;

// A run that saves every step, and is not over before it is killed. Its learning rate does not
// depend on the number of steps, so that a short run is its beginning.
class SavingRun : public RunFolder {
 public:
  SavingRun() : RunFolder(1'000'000) {
    config.checkpoint.every_steps = 1;
    keep_the_rate();
  }
};

void expect_recovery(RunFolder& folder) {
  const std::int64_t kept = folder.newest_step();
  const std::int64_t end = kept + kStepsAfterKill;
  const std::string steps = fmt::format("train.steps={}", end);
  const Outcome resumed = run_gda({"resume", folder.run(), steps}, 2);
  ASSERT_EQ(resumed.code, 0) << resumed.text;
  EXPECT_TRUE(resumed.says(fmt::format("(step {}, written by 2 ranks)", kept))) << resumed.text;
  EXPECT_FALSE(folder.has_temporary());
  const Outcome whole = run_gda(folder.train("whole", {steps, "checkpoint.every_steps=0"}), 2);
  ASSERT_EQ(whole.code, 0) << whole.text;
  EXPECT_EQ(folder.hashes(end), folder.hashes(end, "whole"));
}

void kill_rank(Program& program, int rank) {
  program.signal_rank(rank, SIGKILL);
  const auto begin = std::chrono::steady_clock::now();
  const Outcome killed = program.wait();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_NE(killed.code, 0) << killed.text;
  EXPECT_LT(seconds.count(), kSoon);
}

class KillTest : public testing::TestWithParam<int> {};

TEST_P(KillTest, BetweenSteps) {
  SavingRun folder;
  folder.config.checkpoint.every_steps = 7;
  Program program(folder.train(), 2);
  ASSERT_TRUE(program.wait_until([&] { return folder.newest_step() >= 7; }));
  kill_rank(program, GetParam());
  expect_recovery(folder);
}

TEST_P(KillTest, WhileACheckpointIsWritten) {
  SavingRun folder;
  Program program(folder.train(), 2);
  ASSERT_TRUE(
      program.wait_until([&] { return folder.newest_step() >= 3 && folder.has_temporary(); }));
  kill_rank(program, GetParam());
  expect_recovery(folder);
}

TEST_P(KillTest, WhileACheckpointIsWrittenInTheForeground) {
  SavingRun folder;
  folder.config.checkpoint.async = false;
  Program program(folder.train(), 2);
  ASSERT_TRUE(
      program.wait_until([&] { return folder.newest_step() >= 3 && folder.has_temporary(); }));
  kill_rank(program, GetParam());
  expect_recovery(folder);
}

INSTANTIATE_TEST_SUITE_P(Ranks, KillTest, testing::Values(0, 1));

TEST(KillEarlyTest, BeforeTheFirstCheckpoint) {
  SavingRun folder;
  folder.config.checkpoint.every_steps = 0;
  Program program(folder.train(), 2);
  ASSERT_TRUE(program.wait_until([&] { return folder.reported_step() >= 2; }));
  kill_rank(program, 1);
  const Outcome resumed = run_gda({"resume", folder.run()}, 2);
  EXPECT_EQ(resumed.code, 2);
  EXPECT_TRUE(resumed.says("holds no checkpoint to resume from")) << resumed.text;
  const Outcome again = run_gda(folder.train("run", {"train.steps=3"}), 2);
  EXPECT_EQ(again.code, 0) << again.text;
}

}  // namespace
}  // namespace gda::test
