// What one rank that fails does to the others: they end too, soon, and say why.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <string>

#include <fmt/format.h>

namespace gda {
namespace {

struct Outcome {
  int exit_code = 0;
  std::string output;
  double seconds = 0;
};

// Runs the failing program on three ranks.
Outcome run(const std::string& way) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string command =
      fmt::format("{} -np 3 {} {} 2>&1", GDA_MPIRUN, GDA_FAILING_PROGRAM, way);
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

// Far below the minute that the late rank sleeps, far above what starting three processes takes.
constexpr double kSoon = 30;

TEST(MpiFailureTest, LateRankIsNamed) {
  const Outcome outcome = run("late");
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_LT(outcome.seconds, kSoon);
  const std::string& text = outcome.output;
  EXPECT_NE(text.find("of 3: all_reduce f32[1024] (4096 bytes, operation 1, step 120) did not "
                      "finish within 2 s; no answer from rank 1: "),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("all_gather i32[3] (12 bytes, operation 0, before the first step) took"),
            std::string::npos)
      << text;
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
