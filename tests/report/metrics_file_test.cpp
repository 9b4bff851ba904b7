#include "gda/report/metrics_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/report/readable.h"
#include "support/temporary_folder.h"

namespace gda {
namespace {

using Json = nlohmann::json;

std::vector<Json> lines_of(const std::filesystem::path& path) {
  std::vector<Json> lines;
  std::istringstream text(read_text_file(path));
  for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
  return lines;
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  write_text_file_atomically(path, text);
}

TEST(MetricsFileTest, StepAndEvaluationLines) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "metrics.jsonl";
  {
    MetricsFile file(path, 0);
    StepReport report;
    report.step = 10;
    report.tokens = 40960;
    report.loss = 3.25;
    report.grad_norm = std::numeric_limits<double>::infinity();
    report.flops_full = 50;
    report.flops_causal = 25;
    report.peak.flops = report.peak.measured = 100;
    report.source_losses = {{"en", 3.0}, {"ko", 3.5}};
    report.source_shares = {{"en", 0.75}, {"ko", 0.25}};
    report.lambdas = {0.8, 0.7};
    report.seconds[static_cast<std::size_t>(Phase::backward)] = 1.5;
    file.write(report);
    report.step = 20;
    report.peak = {};
    report.mask = 0.25;
    file.write(report);
    EvalReport eval;
    eval.step = 20;
    eval.name = "held-out \"한국어\"";
    eval.tokens = 512;
    file.write(eval);
  }
  const auto lines = lines_of(path);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0]["step"], 10);
  EXPECT_EQ(lines[0]["tokens"], 40960);
  EXPECT_EQ(lines[0]["loss"], 3.25);
  EXPECT_TRUE(lines[0]["grad_norm"].is_null());
  EXPECT_EQ(lines[0]["mfu_full"], 0.5);
  EXPECT_EQ(lines[0]["mfu_causal"], 0.25);
  EXPECT_EQ(lines[0]["loss_by_source"], (Json{{"en", 3.0}, {"ko", 3.5}}));
  EXPECT_EQ(lines[0]["share_by_source"], (Json{{"en", 0.75}, {"ko", 0.25}}));
  EXPECT_EQ(lines[0]["lambda"], (Json{0.8, 0.7}));
  EXPECT_EQ(lines[0]["seconds"]["backward"], 1.5);
  EXPECT_EQ(lines[0]["seconds"].size(), kPhases);
  EXPECT_TRUE(lines[0]["mask"].is_null());
  EXPECT_TRUE(lines[1]["mfu_full"].is_null());
  EXPECT_EQ(lines[1]["mask"], 0.25);
  EXPECT_EQ(lines[2]["step"], 20);
  EXPECT_EQ(lines[2]["eval"]["name"], "held-out \"한국어\"");
  EXPECT_EQ(lines[2]["eval"]["perplexity"], 1.0);
}

// "2026-11-27T22:36:54.123Z"; texts of that form are in the order of the times.
bool is_utc(const std::string& time) {
  std::string form = time;
  std::replace_if(
      form.begin(), form.end(), [](char c) { return c >= '0' && c <= '9'; }, '0');
  return form == "0000-00-00T00:00:00.000Z";
}

TEST(MetricsFileTest, EveryLineSaysWhen) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "metrics.jsonl";
  const std::string before = utc_time(std::chrono::system_clock::now());
  {
    MetricsFile file(path, 0);
    file.write(StepReport{});
    file.write(EvalReport{});
    file.write(EvalMeanReport{});
    file.write(GrowthReport{});
  }
  const std::string after = utc_time(std::chrono::system_clock::now());
  std::string last = before;
  double elapsed = 0;
  const auto lines = lines_of(path);
  ASSERT_EQ(lines.size(), 4U);
  for (const Json& line : lines) {
    const auto time = line.at("time").get<std::string>();
    EXPECT_TRUE(is_utc(time)) << time;
    EXPECT_LE(last, time);
    EXPECT_LE(time, after);
    last = time;
    EXPECT_GE(line.at("elapsed_seconds").get<double>(), elapsed);
    elapsed = line["elapsed_seconds"].get<double>();
  }
}

TEST(MetricsFileTest, SharesAboveOneAreNotWritten) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "metrics.jsonl";
  {
    MetricsFile file(path, 0);
    StepReport report;
    report.flops_full = 120;
    report.flops_causal = 90;
    report.peak.flops = 100;
    report.peak.measured = 80;
    report.peak.source = Peak::Source::given;
    file.write(report);
    report.peak.measured = 95;
    file.write(report);
  }
  const auto lines = lines_of(path);
  EXPECT_TRUE(lines[0]["mfu_full"].is_null());
  EXPECT_EQ(lines[0]["mfu_causal"], 0.9);
  EXPECT_TRUE(lines[0]["share_of_measured"].is_null());
  EXPECT_EQ(lines[0]["peak_flops"], 100);
  EXPECT_EQ(lines[0]["peak_origin"], "logging.peak_tflops");
  EXPECT_EQ(lines[1]["share_of_measured"], 90.0 / 95.0);
}

TEST(MetricsFileTest, MeansOfEvaluationsAreByToken) {
  EvalMeanReport mean;
  EXPECT_TRUE(std::isnan(mean.loss()));
  const double nothing = std::numeric_limits<double>::quiet_NaN();
  mean.add({.step = 7, .name = "a", .loss = 2.0, .tokens = 100});
  mean.add({.step = 7, .name = "b", .loss = nothing, .tokens = 0});
  mean.add({.step = 7, .name = "c", .loss = 5.0, .tokens = 50});
  EXPECT_EQ(mean.step, 7);
  EXPECT_EQ(mean.sets, 3);
  EXPECT_EQ(mean.tokens, 150);
  EXPECT_EQ(mean.loss(), 3.0);
  EXPECT_DOUBLE_EQ(mean.perplexity(), std::exp(3.0));
}

TEST(MetricsFileTest, ResumingDropsWhatCameAfter) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "metrics.jsonl";
  const std::string kept = "{\"step\":10}\n{\"step\":20}\n{\"step\":20,\"eval\":{}}\n";
  write_file(path, kept + "{\"step\":30}\n{\"step\":40}\n{\"step\":5");
  const MetricsFile file(path, 20);
  EXPECT_EQ(file.dropped_lines(), 3);
  EXPECT_EQ(read_text_file(path), kept);
}

TEST(MetricsFileTest, HalfALineOrWhatIsNoReportIsDropped) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "metrics.jsonl";
  // The last one is whole but for its line end: as good as half.
  for (const char* tail : {"{\"step\":12", "{\"step\":12}", "12\n", "{\"loss\":1}\n", "\n",
                           "{\"step\":\"a\"}\n", "\xff\xfe\n"}) {
    write_file(path, std::string("{\"step\":10}\n") + tail);
    {
      MetricsFile file(path, 20);
      EXPECT_EQ(file.dropped_lines(), 1) << tail;
      EvalReport eval;
      eval.step = 21;
      file.write(eval);
    }
    const auto lines = lines_of(path);
    ASSERT_EQ(lines.size(), 2U) << tail;
    EXPECT_EQ(lines[1]["step"], 21);
  }
}

TEST(MetricsFileTest, NothingToDrop) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "metrics.jsonl";
  write_file(path, "");
  EXPECT_EQ(MetricsFile(path, 20).dropped_lines(), 0);
  write_file(path, "{\"step\":20}\n");
  EXPECT_EQ(MetricsFile(path, 20).dropped_lines(), 0);
  EXPECT_EQ(read_text_file(path), "{\"step\":20}\n");
}

TEST(MetricsFileTest, UnwritableFolderIsNamed) {
  const std::filesystem::path path = "/proc/no-such-folder/metrics.jsonl";
  try {
    const MetricsFile file(path, 0);
    FAIL() << "no error";
  } catch (const IoError& error) {
    EXPECT_STREQ(error.what(),
                 "cannot open /proc/no-such-folder/metrics.jsonl: No such file or directory");
  }
}

// A limit on the size of files does what a full disk does: it takes half of a line.
TEST(MetricsFileTest, HalfWrittenLineIsTakenBack) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "metrics.jsonl";
  MetricsFile file(path, 0);
  file.write(EvalReport{});
  const auto whole = std::filesystem::file_size(path);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{.rlim_cur = whole + 10, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  EXPECT_THROW(file.write(EvalReport{}), IoError);
  EXPECT_EQ(std::filesystem::file_size(path), whole);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  file.write(EvalReport{});
  EXPECT_EQ(lines_of(path).size(), 2U);
}

TEST(MetricsFileTest, FullDiskIsSaid) {
  MetricsFile file("/dev/full", 0);
  try {
    file.write(EvalReport{});
    FAIL() << "no error";
  } catch (const IoError& error) {
    EXPECT_STREQ(error.what(), "cannot write /dev/full: No space left on device");
  }
}

}  // namespace
}  // namespace gda
