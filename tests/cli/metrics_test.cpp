// metrics.jsonl of real runs, and the page that says what is in it.
#include <algorithm>
#include <set>

#include "cli/run_folder.h"
#include "gda/report/metrics_page.h"
#include "report/metrics_fields.h"

namespace gda::test {
namespace {

using Json = nlohmann::json;
using Names = std::set<std::string>;

template <class Report>
Names described() {
  Names names;
  for (const auto& field : metric_fields<Report>()) {
    EXPECT_TRUE(names.insert(std::string(field.name)).second) << field.name;
    EXPECT_FALSE(field.meaning.empty()) << field.name;
    EXPECT_EQ(field.meaning.find('|'), std::string::npos) << field.name;
  }
  return names;
}

Names names_in(const Json& object) {
  Names names;
  for (const auto& [name, value] : object.items()) names.insert(name);
  return names;
}

// What comes after the stamp in a line of a step; of another line, its one key.
Names without_stamp(Names names) {
  for (const std::string& name : described<LineStamp>()) EXPECT_EQ(names.erase(name), 1U) << name;
  return names;
}

TEST(MetricsTest, ThePageIsCurrent) {
  EXPECT_EQ(read_text_file(GDA_DOCS_DIR "/metrics.md"), metrics_page())
      << "gda config --metrics > docs/metrics.md";
  EXPECT_EQ(run_gda({"config", "--metrics"}).text, metrics_page());
}

// Everything that a run can report: steps, evaluations, a growth whose mask rises.
TEST(MetricsTest, EveryFieldIsDescribedAndWritten) {
  RunFolder folder(8);
  folder.config.eval.every_steps = 4;
  folder.config.eval.steps = 1;
  GrowthStageConfig stage;
  stage.step = 4;
  stage.plan_file = folder.path("plan.yaml").string();
  write_text_file_atomically(stage.plan_file,
                             "steps: [{operator: masked, layers: 3, ramp_steps: 4}]\n");
  folder.config.growth.stages = {stage};
  const Outcome outcome = run_gda(folder.train(), 2);
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  const std::map<std::string, Names> nested{{"eval", described<EvalReport>()},
                                            {"eval_mean", described<EvalMeanReport>()},
                                            {"growth", described<GrowthReport>()}};
  std::map<std::string, int> kinds;
  for (const Json& line : folder.metrics()) {
    const Names names = without_stamp(names_in(line));
    if (names.size() > 1) {
      EXPECT_EQ(names, described<StepReport>());
      ++kinds["step"];
      continue;
    }
    const std::string kind = *names.begin();
    ++kinds[kind];
    EXPECT_EQ(names_in(line.at(kind)), nested.at(kind)) << kind;
  }
  const std::map<std::string, int> expected{
      {"step", 8}, {"eval", 4}, {"eval_mean", 2}, {"growth", 1}};
  EXPECT_EQ(kinds, expected);
}

// Also over an interval in which the model grew: what both models did, and no more.
TEST(MetricsTest, RatesAreOfTheWorkThatWasDone) {
  RunFolder folder(12);
  folder.config.logging.every_steps = 5;
  GrowthStageConfig stage;
  stage.step = 9;
  stage.plan_file = folder.path("plan.yaml").string();
  write_text_file_atomically(stage.plan_file, "steps: [{operator: depth, every: 1}]\n");
  folder.config.growth.stages = {stage};
  const Outcome outcome = run_gda(folder.train());
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  double before = 0;
  std::int64_t lines = 0;
  for (const Json& line : folder.metrics()) {
    if (line.contains("growth")) continue;
    double seconds = 0;
    for (const auto& [phase, part] : line.at("seconds").items()) seconds += part.get<double>();
    const double done = line.at("flops").get<double>() - before;
    EXPECT_NEAR(line.at("flops_full").get<double>() * seconds, done, 1e-9 * done);
    before += done;
    ++lines;
  }
  EXPECT_EQ(lines, 3);
}

TEST(MetricsTest, MeansAreOverTheTokensOfAllSets) {
  RunFolder folder(2);
  folder.config.eval.every_steps = 2;
  const Outcome outcome = run_gda(folder.train());
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  double loss = 0;
  double tokens = 0;
  Json mean;
  for (const Json& line : folder.metrics()) {
    if (line.contains("eval_mean")) mean = line["eval_mean"];
    if (!line.contains("eval")) continue;
    const double count = line["eval"]["tokens"];
    loss += count * line["eval"]["loss"].get<double>();
    tokens += count;
  }
  ASSERT_GT(tokens, 0);
  EXPECT_EQ(mean["tokens"], tokens);
  EXPECT_EQ(mean["sets"], 2);
  EXPECT_NEAR(mean["loss"], loss / tokens, 1e-12);
  EXPECT_NEAR(mean["perplexity"], std::exp(loss / tokens), 1e-9);
  EXPECT_TRUE(outcome.says("evaluation of all 2 sets at step 2")) << outcome.text;
}

TEST(MetricsTest, SharesFollowTheWeights) {
  RunFolder folder(20);
  folder.config.data.sources[0].weight.points = {{0, 1}, {20, 3}};
  ASSERT_EQ(run_gda(folder.train()).code, 0);
  const auto metrics = folder.metrics();
  // Plateaus are as short as a step here, and have the weight at their middle.
  for (const std::size_t step : {1, 10, 19}) {
    const double weight = 1 + 2 * (static_cast<double>(step) + 0.5) / 20;
    const Json& shares = metrics[step - 1].at("share_by_source");
    EXPECT_NEAR(shares.at("one"), weight / (weight + 1), 0.05 / 4) << step;
    EXPECT_NEAR(shares.at("one").get<double>() + shares.at("two").get<double>(), 1, 1e-8);
  }
}

// No MFU above 100 % whatever the peak is said to be, and a word of it.
TEST(MetricsTest, APeakThatIsTooSmallIsToldOnce) {
  RunFolder folder(6);
  folder.config.logging.peak_tflops = 1e-6;
  const Outcome outcome = run_gda(folder.train());
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_TRUE(outcome.says("more than the peak of 1e-06 TFLOP/s (logging.peak_tflops)"))
      << outcome.text;
  const std::string word = "MFU above 100 % is not told";
  EXPECT_EQ(outcome.text.find(word), outcome.text.rfind(word)) << outcome.text;
  for (const Json& line : folder.metrics()) {
    EXPECT_TRUE(line.at("mfu_full").is_null());
    EXPECT_TRUE(line.at("mfu_causal").is_null());
  }
}

// Measured at the start, in every type, by one process and by two that agree on it.
TEST(MetricsTest, AMeasuredPeakIsNotBeaten) {
  for (const std::string compute : {"fp32", "fp64"}) {
    for (const int ranks : {0, 2}) {
      RunFolder folder(8);
      folder.config.logging.peak_tflops.reset();
      folder.config.precision.compute = from_word<ComputePrecision>(compute).value();
      const Outcome outcome = run_gda(folder.train(), ranks);
      ASSERT_EQ(outcome.code, 0) << outcome.text;
      double peak = 0;
      for (const Json& line : folder.metrics()) {
        EXPECT_EQ(line.at("peak_origin"), "measured");
        EXPECT_EQ(line.at("peak_flops"), line.at("measured_flops"));
        EXPECT_GE(line.at("peak_flops").get<double>(), peak) << "it only rises";
        peak = line["peak_flops"];
        EXPECT_LE(line.at("mfu_causal").get<double>(), 1);
        EXPECT_GT(line["mfu_causal"].get<double>(), 0);
      }
    }
  }
}

}  // namespace
}  // namespace gda::test
