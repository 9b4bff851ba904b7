// A run that is asked to stop saves, says how to go on, and ends as if it had not stopped.
#include <fmt/format.h>
#include <signal.h>

#include "cli/run_folder.h"

namespace gda::test {
namespace {

// No machine is so crowded that such a run ends before it is stopped. Its learning rate does not
// depend on the number of steps, so that a short run is its beginning.
constexpr std::int64_t kEndless = 1'000'000;
constexpr std::int64_t kSignalStep = 10;
constexpr std::int64_t kMoreSteps = 20;  // after it was stopped

class EndlessRun : public RunFolder {
 public:
  EndlessRun() : RunFolder(kEndless) { keep_the_rate(); }
};

void expect_stopped(const RunFolder& folder, const Outcome& outcome, const std::string& by) {
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  const std::int64_t step = folder.newest_step();
  EXPECT_LT(step, kEndless);
  EXPECT_EQ(outcome.last_line(),
            fmt::format("stopped by {} after step {} of {}; saved. Resume with: gda resume {}", by,
                        step, kEndless, folder.run()))
      << outcome.text;
}

// Resumes, and compares with a run that nothing interrupted.
void expect_same_end(const RunFolder& folder, int ranks) {
  const std::int64_t end = folder.newest_step() + kMoreSteps;
  const std::string steps = fmt::format("train.steps={}", end);
  const Outcome resumed = run_gda({"resume", folder.run(), steps, "train.max_minutes=0"}, ranks);
  EXPECT_EQ(resumed.code, 0) << resumed.text;
  EXPECT_FALSE(folder.has_temporary());
  const Outcome whole = run_gda(folder.train("whole", {steps}), ranks);
  EXPECT_EQ(whole.code, 0) << whole.text;
  EXPECT_EQ(folder.hashes(end), folder.hashes(end, "whole"));
  EXPECT_EQ(folder.metrics().size(), static_cast<std::size_t>(end));
  const std::string next = fmt::format(
      "; the checkpoint is in {}/checkpoints. Resume with: gda resume {} train.steps={}",
      folder.run(), folder.run(), 2 * end);
  EXPECT_NE(resumed.last_line().find(next), std::string::npos) << resumed.text;
}

bool has_begun(const RunFolder& folder) {
  return folder.reported_step() >= kSignalStep;
}

struct StopSignal {
  int number;
  const char* description;
};
void PrintTo(const StopSignal& signal, std::ostream* stream) {
  *stream << signal.description;
}

class StopSignalTest : public testing::TestWithParam<StopSignal> {};

TEST_P(StopSignalTest, OneProcess) {
  const EndlessRun folder;
  Program program(folder.train());
  ASSERT_TRUE(program.wait_until([&] { return has_begun(folder); })) << program.wait().text;
  program.signal(GetParam().number);
  expect_stopped(folder, program.wait(), GetParam().description);
  expect_same_end(folder, 0);
}

// What a batch system does that signals every process, or a user who signals one of them.
TEST_P(StopSignalTest, OneRankOfTwo) {
  const EndlessRun folder;
  Program program(folder.train(), 2);
  ASSERT_TRUE(program.wait_until([&] { return has_begun(folder); })) << program.wait().text;
  program.signal_rank(1, GetParam().number);
  expect_stopped(folder, program.wait(), GetParam().description);
  expect_same_end(folder, 2);
}

INSTANTIATE_TEST_SUITE_P(Signals, StopSignalTest,
                         testing::Values(StopSignal{SIGTERM, "SIGTERM"},
                                         StopSignal{SIGINT, "SIGINT (Ctrl-C)"},
                                         StopSignal{SIGHUP, "SIGHUP"},
                                         StopSignal{SIGUSR1, "SIGUSR1"}),
                         [](const auto& test) {
                           const std::string name = test.param.description;
                           return name.substr(0, name.find(' '));
                         });

// mpirun passes SIGUSR1 on.
TEST(StopTest, SigUsr1ToMpirun) {
  const EndlessRun folder;
  Program program(folder.train(), 2);
  ASSERT_TRUE(program.wait_until([&] { return has_begun(folder); })) << program.wait().text;
  program.signal(SIGUSR1);
  expect_stopped(folder, program.wait(), "SIGUSR1");
  expect_same_end(folder, 2);
}

// Open MPI's mpirun turns SIGTERM and SIGINT into SIGTERM for the ranks, followed by SIGKILL a
// moment later, and has an exit code of its own. What was not saved by then is lost, no more.
TEST(StopTest, SigTermToMpirunLosesNothingThatWasSaved) {
  EndlessRun folder;
  folder.config.checkpoint.every_steps = 5;
  for (const int number : {SIGTERM, SIGINT}) {
    Program program(
        number == SIGTERM ? folder.train() : std::vector{std::string("resume"), folder.run()}, 2);
    const std::int64_t before = folder.reported_step();
    ASSERT_TRUE(program.wait_until([&] { return folder.reported_step() >= before + kSignalStep; }))
        << program.wait().text;
    program.signal(number);
    const Outcome outcome = program.wait();
    EXPECT_GE(folder.newest_step(), before + 5) << outcome.text;
  }
  expect_same_end(folder, 2);
}

// Which may be over before the first step.
TEST(StopTest, TimeLimit) {
  const EndlessRun folder;
  const Outcome outcome = run_gda(folder.train("run", {"train.max_minutes=0.01"}));  // 0.6 s
  expect_stopped(folder, outcome, "the time limit (train.max_minutes)");
  expect_same_end(folder, 0);
}

}  // namespace
}  // namespace gda::test
