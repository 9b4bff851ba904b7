// What a run says at its start and in its metrics, so that nobody finds it out afterwards.
#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdio>

#include "cli/run_folder.h"

namespace gda::test {
namespace {

std::string source(const RunFolder& folder, const std::string& name) {
  return fmt::format("{{name: {}, path: {}, weight: 1}}", name, folder.path(name).string());
}

TEST(TellingTest, ASourceThatIsRepeated) {
  RunFolder folder(40);
  write_tiny_dataset(folder.path("small").string(), 19, 1, 5);
  const Outcome outcome = run_gda(folder.train(
      "run", {"data.sources=[" + source(folder, "one") + ", " + source(folder, "small") + "]",
              "data.validation_fraction=0"}));
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_TRUE(outcome.says("passes by the last step")) << outcome.text;
  EXPECT_TRUE(outcome.says("source small is gone through ")) << outcome.text;
  EXPECT_FALSE(outcome.says("source one is gone through ")) << outcome.text;
  const auto metrics = folder.metrics();
  ASSERT_EQ(metrics.size(), 40U);
  // 6 of the 12 samples of a step are of the small source: 3,840 tokens in all, to its 5 documents
  // of 5 to 40.
  const auto passes = [&](std::size_t step, const char* name) {
    return metrics[step - 1].at("passes_by_source").at(name).get<double>();
  };
  EXPECT_GT(passes(40, "small"), 4);
  EXPECT_NEAR(passes(40, "small"), 2 * passes(20, "small"), 0.05 * passes(40, "small"));
  EXPECT_LT(passes(40, "one"), 1);
}

TEST(TellingTest, ASourceWithNothingToPredict) {
  const RunFolder folder(4);
  {
    TokenDatasetWriter writer(folder.path("ones").string(), 19);
    for (int i = 0; i < 500; ++i) {
      writer.append(std::vector<std::int32_t>{i % 19});
      writer.end_document();
    }
    writer.finish();
  }
  const std::string sources =
      "data.sources=[" + source(folder, "one") + ", " + source(folder, "ones") + "]";
  const Outcome masked = run_gda(folder.train("run", {sources}));
  EXPECT_EQ(masked.code, 2) << masked.text;
  EXPECT_TRUE(masked.says("data.sources: ones has nothing to predict")) << masked.text;
  EXPECT_FALSE(std::filesystem::exists(folder.run()));
  const Outcome open = run_gda(folder.train("run", {sources, "data.document_mask=false"}));
  EXPECT_EQ(open.code, 0) << open.text;
}

TEST(TellingTest, AGrownRunThatIsDoneSaysHowToTrainOn) {
  const RunFolder folder(6);
  ASSERT_EQ(run_gda(folder.train()).code, 0);
  const std::string grown = folder.path("grown").string();
  const Outcome outcome =
      run_gda({"grow", "signal-heads", "--factor", "2", "--from", folder.run(), "--to", grown});
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_EQ(outcome.last_line(),
            "next            gda resume " + grown + " train.steps=12 schedule.steps=12");
  EXPECT_FALSE(std::filesystem::exists(folder.path("grown") / "lock"));
}

TEST(TellingTest, ALongerRunThatHasDecayedKeepsItsScheduleAndSaysSo) {
  RunFolder folder(10);
  folder.config.schedule.steps.reset();
  folder.config.schedule.name = ScheduleName::linear;
  ASSERT_EQ(run_gda(folder.train()).code, 0);
  // A grown run is the same run, with a larger model.
  const std::string grown = folder.path("grown").string();
  ASSERT_EQ(run_gda({"grow", "depth", "--every", "1", "--from", folder.run(), "--to", grown}).code,
            0);
  const auto rate = [&] { return folder.metrics().back().at("lr").get<double>(); };
  const double last = rate();
  for (const std::string& run : {folder.run(), grown}) {
    const Outcome longer = run_gda({"resume", run, "train.steps=11"}, run == grown ? 0 : 2);
    EXPECT_EQ(longer.code, 0) << longer.text;
    EXPECT_TRUE(
        longer.says("0.0003 from step 11 on (schedule.steps=10). To lay it out anew: gda "
                    "resume " +
                    run + " train.steps=11 schedule.steps=11  # "))
        << longer.text;
    EXPECT_NE(read_text_file(std::filesystem::path(run) / "log/rank-00000.log")
                  .find("the schedule stays as it was laid out"),
              std::string::npos);
    EXPECT_NE(read_text_file(std::filesystem::path(run) / "config.yaml").find("  steps: 10\n"),
              std::string::npos);
  }
  EXPECT_EQ(rate(), last);
  // What was chosen stays chosen.
  const Outcome again = run_gda({"resume", folder.run(), "train.steps=12"});
  ASSERT_EQ(again.code, 0) << again.text;
  EXPECT_FALSE(again.says("as it was laid out")) << again.text;
  EXPECT_EQ(rate(), last);
  const Outcome anew =
      run_gda({"resume", folder.run(), "--step", "10", "train.steps=11", "schedule.steps=20"});
  ASSERT_EQ(anew.code, 0) << anew.text;
  EXPECT_TRUE(anew.says("the learning rate jumps from")) << anew.text;
  EXPECT_TRUE(anew.says("at step 11; laid out over 20 steps")) << anew.text;
  EXPECT_GT(rate(), 2 * last);
}

// What comes before the program's name in a shell, and how many threads its two ranks then have.
std::string threads_with(const RunFolder& folder, const std::string& setting) {
  std::string command = "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 " + setting +
                        " " GDA_MPIRUN " -np 2 " GDA_PROGRAM;
  for (const std::string& word : folder.train()) command += " '" + word + "'";
  std::filesystem::remove_all(folder.run());
  std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  std::string text;
  for (int c = 0; (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  EXPECT_EQ(::pclose(pipe), 0) << text;
  const std::size_t end = std::min(text.find(" threads each"), text.find(" thread each"));
  if (end == std::string::npos) return text;
  return text.substr(text.rfind(' ', end - 1) + 1, end - text.rfind(' ', end - 1) - 1);
}

TEST(TellingTest, AnEmptyVariableIsNone) {
  const RunFolder folder(2);
  const std::string expected = threads_with(folder, "env -u OMP_NUM_THREADS");
  EXPECT_EQ(threads_with(folder, "env OMP_NUM_THREADS="), expected);
  EXPECT_EQ(threads_with(folder, "env OMP_NUM_THREADS=x"), expected);
  EXPECT_EQ(threads_with(folder, "env OMP_NUM_THREADS=3"), "3");
  EXPECT_EQ(threads_with(folder, "env -u OMP_NUM_THREADS GDA_CPU_ISA= NCCL_HOSTID="), expected);
}

}  // namespace
}  // namespace gda::test
