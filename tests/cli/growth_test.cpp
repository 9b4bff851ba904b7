// A run whose model grows, and the same seed twice, through the program.
#include <cmath>

#include "cli/run_folder.h"

namespace gda::test {
namespace {

constexpr std::int64_t kBefore = 20;
constexpr std::int64_t kAfter = 40;

double loss_at(const RunFolder& folder, const std::string& run, std::int64_t step) {
  for (const nlohmann::json& report : folder.metrics(run)) {
    if (report.at("step") == step) return report.at("loss").get<double>();
  }
  ADD_FAILURE() << run << " has no report of step " << step;
  return 0;
}

double mean_loss(const RunFolder& folder, const std::string& run, std::int64_t first,
                 std::int64_t last) {
  double sum = 0;
  for (std::int64_t step = first; step <= last; ++step) sum += loss_at(folder, run, step);
  return sum / static_cast<double>(last - first + 1);
}

class GrowTest : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(GrowTest, KeepsTheLossAndGoesOn) {
  RunFolder folder(kBefore);
  folder.keep_the_rate();  // so that step 21 has the same rate in either run
  const Outcome trained = run_gda(folder.train());
  ASSERT_EQ(trained.code, 0) << trained.text;
  std::vector<std::string> grow{"grow", "signal-heads",      "--json", "--from", folder.run(),
                                "--to", folder.path("grown")};
  grow.insert(grow.end(), GetParam().begin(), GetParam().end());
  const Outcome grown = run_gda(grow);
  ASSERT_EQ(grown.code, 0) << grown.text;
  const auto report = nlohmann::json::parse(grown.text);
  EXPECT_LT(report["exactness"]["relative"].get<double>(), 1e-5);
  EXPECT_GT(report["signal_heads"][1], report["signal_heads"][0]);
  EXPECT_GT(report["parameters"][1], report["parameters"][0]);

  const std::string steps = "train.steps=" + std::to_string(kAfter);
  for (const std::string run : {"run", "grown"}) {
    const Outcome resumed = run_gda({"resume", folder.path(run), steps});
    ASSERT_EQ(resumed.code, 0) << resumed.text;
  }
  // The loss of a step is that of the parameters before its update, on the same samples.
  const double ungrown = loss_at(folder, "run", kBefore + 1);
  EXPECT_NEAR(loss_at(folder, "grown", kBefore + 1), ungrown, 1e-4 * ungrown);
  // The two runs see the same samples, so the sampling noise of a batch cancels; what remains is
  // the different path, of the order of the change that a few updates make. A jump would be of
  // the order of the loss already gained. A tenth of that is allowed.
  const double gained = std::log(19.0) - mean_loss(folder, "run", kAfter - 4, kAfter);
  ASSERT_GT(gained, 0.1) << "the run has learned too little to tell";
  EXPECT_LT(mean_loss(folder, "grown", kAfter - 4, kAfter),
            mean_loss(folder, "run", kAfter - 4, kAfter) + gained / 10);
}

INSTANTIATE_TEST_SUITE_P(Forms, GrowTest,
                         testing::Values(std::vector<std::string>{"--factor", "2"},
                                         std::vector<std::string>{"--add", "1"}),
                         [](const auto& test) { return test.param[0].substr(2); });

TEST(RepeatTest, TheSameSeedGivesTheSameBits) {
  const RunFolder folder(15);
  for (const int ranks : {0, 2}) {
    const std::string tag = std::to_string(ranks);
    for (const std::string& run : {"a" + tag, "b" + tag}) {
      const Outcome outcome = run_gda(folder.train(run), ranks);
      ASSERT_EQ(outcome.code, 0) << outcome.text;
    }
    EXPECT_EQ(folder.hashes(15, "a" + tag), folder.hashes(15, "b" + tag));
  }
  ASSERT_EQ(run_gda(folder.train("other", {"train.seed=2"})).code, 0);
  EXPECT_NE(folder.hashes(15, "other"), folder.hashes(15, "a0"));
}

}  // namespace
}  // namespace gda::test
