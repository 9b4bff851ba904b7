// What one rank that fails does to the others: they end too, soon, and say why.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "gda/dist/device_communicator.h"
#include "gda/dist/mesh.h"

namespace gda {
namespace {

struct Outcome {
  int exit_code = 0;
  std::string output;
  double seconds = 0;
};

// Runs the failing program.
Outcome run(const std::string& way, int ranks = 3) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string command =
      fmt::format("{} -np {} {} '{}' 2>&1", GDA_MPIRUN, ranks, GDA_FAILING_PROGRAM, way);
  std::FILE* pipe = popen(command.c_str(), "r");
  Outcome outcome;
  std::array<char, 4096> block;
  while (const std::size_t count = std::fread(block.data(), 1, block.size(), pipe)) {
    outcome.output.append(block.data(), count);
  }
  const int status = pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return outcome;
}

// Far below what the late rank sleeps, far above what starting three processes takes.
constexpr double kSoon = 90;

// Ends soon, with the code, having said each of the texts.
void expect_failure(const std::string& way, const std::vector<std::string>& texts, int code = 3,
                    int ranks = 3) {
  const Outcome outcome = run(way, ranks);
  EXPECT_EQ(outcome.exit_code, code);
  EXPECT_LT(outcome.seconds, kSoon);
  for (const std::string& text : texts) {
    EXPECT_NE(outcome.output.find(text), std::string::npos) << text << "\nin\n" << outcome.output;
  }
}

TEST(MpiFailureTest, LateRankIsNamed) {
  expect_failure("late",
                 {"of 3: all_reduce fp32[1024] (4096 bytes, operation 1, step 120) did not "
                  "finish within 2 s; no answer from rank 1: ",
                  "all_gather int32[3] (12 bytes, operation 0, before the first step) took"});
}

// The rank that waits is 1 of its group, and 2 of all. Rank 0 waits for both at the barrier behind.
// Whichever's time is over first, it tells what each of the three does, and so whose fault it is.
TEST(MpiFailureTest, LateRankOfAGroupIsNamed) {
  const std::string in_the_group =
      "rank 2: waiting in all_reduce fp32[1024] (4096 bytes, operation 0 of the pair group, step "
      "120) for rank 1";
  expect_failure(
      "late in a group",
      {"did not finish within 2 s; no answer from rank", "what the ranks do:",
       "rank 0: waiting in all_gather int32[3] (12 bytes, operation 2, step 120) for ranks 1, 2",
       "rank 1: in no operation; the last was split into groups named pair", in_the_group});
}

// A rank that is stopped says nothing; the others say so, and do not wait for it for ever.
TEST(MpiFailureTest, AStoppedRankIsNamed) {
  expect_failure(
      "stopped",
      {"did not finish within 2 s; no answer from rank 1: ",
       "rank 1: no answer: stopped, gone or out of reach",
       "ranks 0, 2: waiting in all_reduce fp32[1024] (4096 bytes, operation 1, step 120) "
       "for rank 1"});
}

TEST(MpiFailureTest, AMessageThatDoesNotComeIsNamed) {
  expect_failure("no message",
                 {"did not finish within 2 s; no answer from rank",
                  "rank 2: waiting in receive fp32[1024] from rank 1 (4096 bytes, message 0 of the "
                  "pair group, step 120) for rank 1"});
}

// The others wait for their devices; the watchdog of each says what for, and ends all with code 1.
TEST(MpiFailureTest, LateRankOnADeviceIsToldByTheWatchdog) {
  if (cuda_device_count() == 0 || !nccl_is_available()) {
    GTEST_SKIP() << "no CUDA device is there, or the build has no NCCL";
  }
  expect_failure(
      "late on a device",
      {"of 3: all_reduce fp32[1024] (4096 bytes, operation 2, step 120) did not finish within 2 s; "
       "the ranks that wait in another operation, or in none, are the ones to look at",
       "the last operations of rank 0 on its device, all complete:",
       "the last operations of rank 2 on its device, all complete:",
       "broadcast fp32[1024] (4096 bytes, operation 1, step 120) took"},
      1);
}

// The last of four or eight ranks, and one that waits for it in an operation of the named group.
struct LateRank {
  const char* group;
  const char* late;
  const char* waits;
};

constexpr std::array<LateRank, kAxes> kLateOfFour = {{
    {"pipeline", "rank 3 (pipeline 1, data 0, context 0, tensor 1)",
     "rank 1 (pipeline 0, data 0, context 0, tensor 1)"},
    {"data", "rank 3 (pipeline 0, data 1, context 0, tensor 1)",
     "rank 1 (pipeline 0, data 0, context 0, tensor 1)"},
    {"context", "rank 3 (pipeline 0, data 0, context 1, tensor 1)",
     "rank 1 (pipeline 0, data 0, context 0, tensor 1)"},
    {"tensor", "rank 3 (pipeline 1, data 0, context 0, tensor 1)",
     "rank 2 (pipeline 1, data 0, context 0, tensor 0)"},
}};

void expect_late(const LateRank& rank, int ranks) {
  expect_failure(fmt::format("late along {}", rank.group),
                 {fmt::format("{}: in no operation; the last was", rank.late),
                  fmt::format("waiting in all_reduce fp32[1024] (4096 bytes, operation 0 of the {} "
                              "group, step 120) for {}",
                              rank.group, rank.late)},
                 3, ranks);
}

void expect_late_on_a_device(const LateRank& rank, int ranks) {
  if (cuda_device_count() == 0 || !nccl_is_available()) {
    GTEST_SKIP() << "no CUDA device is there, or the build has no NCCL";
  }
  expect_failure(
      fmt::format("late along {} on a device", rank.group),
      {fmt::format("{}: in no operation; the last was", rank.late),
       "on its device in no operation; the last there was",
       fmt::format("{} of {}: all_reduce fp32[1024] (4096 bytes, operation 1 of the {} group, step "
                   "120) did not finish within 5 s",
                   rank.waits, ranks, rank.group),
       fmt::format("on its device waiting in all_reduce fp32[1024] (4096 bytes, operation 1 of "
                   "the {} group, step 120)",
                   rank.group)},
      1, ranks);
}

class LateRankTest : public ::testing::TestWithParam<int> {
 protected:
  static const LateRank& rank() { return kLateOfFour[static_cast<std::size_t>(GetParam())]; }
};

TEST_P(LateRankTest, OfTwoRanks) {
  expect_failure(fmt::format("late along {}", rank().group),
                 {"rank 0 of 2: all_reduce fp32[1024] (4096 bytes, operation ",
                  "did not finish within 2 s; no answer from rank 1: ",
                  "rank 1: in no operation; the last was"},
                 3, 2);
}

TEST_P(LateRankTest, OfFourRanks) {
  expect_late(rank(), 4);
}

TEST_P(LateRankTest, OfTwoRanksOnADevice) {
  if (cuda_device_count() == 0 || !nccl_is_available()) {
    GTEST_SKIP() << "no CUDA device is there, or the build has no NCCL";
  }
  expect_failure(fmt::format("late along {} on a device", rank().group),
                 {"rank 0 of 2: all_reduce fp32[1024] (4096 bytes, operation ",
                  "rank 1: in no operation; the last was",
                  "on its device in no operation; the last there was"},
                 1, 2);
}

TEST_P(LateRankTest, OfFourRanksOnADevice) {
  expect_late_on_a_device(rank(), 4);
}

INSTANTIATE_TEST_SUITE_P(Axes, LateRankTest, ::testing::Range(0, kAxes), [](const auto& test) {
  return std::string(kLateOfFour[test.param].group);
});

constexpr LateRank kLateReplica = {"replicas", "rank 7 (pipeline 0, data 1, context 1, tensor 1)",
                                   "rank 5 (pipeline 0, data 1, context 0, tensor 1)"};

TEST(MpiFailureTest, LateRankOfTheReplicasIsNamed) {
  expect_late(kLateReplica, 8);
}

TEST(MpiFailureTest, LateRankOfTheReplicasOnADeviceIsNamed) {
  expect_late_on_a_device(kLateReplica, 8);
}

constexpr const char* kLikelyCause =
    "; the ranks may run different programs, configurations or data";

// Small data goes at once: one of the ranks sees that what came has another length.
TEST(MpiFailureTest, SizesThatDifferAreNotTakenSilently) {
  expect_failure("other size", {"is not the one expected: ", kLikelyCause});
}

// Before large data ranks tell each other what they are about to send.
TEST(MpiFailureTest, LargeSizesThatDifferAreBothNamed) {
  expect_failure(
      "other large size",
      {"of 3: all_reduce fp32[8192] (32768 bytes, operation 1, step 120): rank 1 calls all_reduce "
       "fp32[4096] instead",
       kLikelyCause});
}

TEST(MpiFailureTest, MessagesOfAnotherLengthAreRefused) {
  expect_failure("other message",
                 {"rank 2 of 3: receive fp32[1024] from rank 0 (4096 bytes, message 0, step 120): "
                  "rank 0 sends 2048 bytes and not 4096",
                  kLikelyCause});
}

TEST(MpiFailureTest, ExceptionEndsAllRanks) {
  const Outcome outcome = run("throw");
  EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
  EXPECT_LT(outcome.seconds, kSoon);
  EXPECT_NE(outcome.output.find("rank 1 has had enough"), std::string::npos) << outcome.output;
}

TEST(MpiFailureTest, AbortEndsAllRanksWithItsCode) {
  const Outcome outcome = run("abort");
  EXPECT_EQ(outcome.exit_code, 7) << outcome.output;
  EXPECT_LT(outcome.seconds, kSoon);
}

TEST(MpiFailureTest, ARankThatLeavesOrIsKilledEndsAllRanks) {
  for (const char* way : {"leave", "die"}) {
    const Outcome outcome = run(way);
    EXPECT_NE(outcome.exit_code, 0) << way << outcome.output;
    EXPECT_LT(outcome.seconds, kSoon) << way;
  }
}

}  // namespace
}  // namespace gda
