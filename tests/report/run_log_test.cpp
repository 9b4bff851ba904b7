#include "gda/report/run_log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "gda/core/file.h"
#include "support/temporary_folder.h"

namespace gda {
namespace {

std::int64_t count_of(const std::string& text, const std::string& part) {
  std::int64_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

std::string event_text(const std::filesystem::path& folder) {
  std::string text;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("events.out.tfevents.")) text += read_text_file(entry.path());
  }
  return text;
}

StepReport step_report(std::int64_t step) {
  StepReport report;
  report.step = step;
  report.total_steps = 40;
  report.peak.flops = report.peak.measured = 1e9;
  report.source_losses = {{"ko", 2.0}};
  report.lambdas = {0.5, 0.6};
  return report;
}

TEST(RunLogTest, ReportsGoEverywhere) {
  const test::TemporaryFolder folder;
  {
    RunLog log(
        {.metrics = folder.path() / "metrics.jsonl", .events = folder.path(), .total_steps = 40});
    log.report(step_report(10));
    StepReport growing = step_report(20);
    growing.mask = 0.5;
    log.report(growing);
    EvalReport eval;
    eval.step = 20;
    eval.name = "en";
    log.report(eval);
    EvalMeanReport mean;
    mean.add(eval);
    log.report(mean);
  }
  const std::string metrics = read_text_file(folder.path() / "metrics.jsonl");
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 4);
  const std::string events = event_text(folder.path());
  for (const char* tag :
       {"train/loss", "train/lr", "train/grad_norm", "train/tokens", "train/skipped",
        "throughput/tokens_per_second", "throughput/flops_full", "throughput/flops_causal",
        "throughput/mfu_full", "throughput/mfu_causal", "seconds/data", "seconds/other",
        "memory/resident_bytes", "memory/peak_resident_bytes", "loss_by_source/ko",
        "lambda/layer_00", "lambda/layer_01"}) {
    EXPECT_EQ(count_of(events, tag), 2) << tag;
  }
  EXPECT_EQ(count_of(events, "growth/mask"), 1);
  EXPECT_EQ(count_of(events, "eval/en/loss"), 1);
  EXPECT_EQ(count_of(events, "eval/en/perplexity"), 1);
  EXPECT_EQ(count_of(events, "eval_mean/loss"), 1);
  EXPECT_EQ(count_of(events, "eval_mean/perplexity"), 1);
}

TEST(RunLogTest, ResumedRunGoesOnWhereItsCheckpointIs) {
  const test::TemporaryFolder folder;
  for (const bool resumed : {false, true}) {
    RunLog log({.metrics = folder.path() / "metrics.jsonl",
                .events = folder.path(),
                .total_steps = 40,
                .resumed_step = resumed ? std::optional<std::int64_t>(10) : std::nullopt});
    if (!resumed) log.report(step_report(10));
    log.report(step_report(20));
  }
  const std::string metrics = read_text_file(folder.path() / "metrics.jsonl");
  EXPECT_EQ(count_of(metrics, "\"step\":10,"), 1);
  EXPECT_EQ(count_of(metrics, "\"step\":20,"), 1);
}

TEST(RunLogTest, TensorboardShowsTheConfiguration) {
  const test::TemporaryFolder folder;
  {
    const RunLog log({.metrics = folder.path() / "metrics.jsonl",
                      .events = folder.path(),
                      .total_steps = 40,
                      .config = "optimizer:\n  lr: 0.5\ntrain:\n  init_from: other\n",
                      .settings = {{"optimizer.lr", "0.5"}, {"train.init_from", "other"}}});
  }
  const std::string events = event_text(folder.path());
  EXPECT_EQ(count_of(events, "```yaml\noptimizer:\n  lr: 0.5\n"), 1);
  EXPECT_EQ(count_of(events, "_hparams_/session_start_info"), 1);
  EXPECT_EQ(count_of(events, "optimizer.lr"), 1);
  EXPECT_EQ(count_of(events, "train.init_from"), 1);
}

TEST(RunLogTest, TensorboardCanBeOff) {
  const test::TemporaryFolder folder;
  RunLog log({.metrics = folder.path() / "metrics.jsonl", .total_steps = 40});
  log.report(step_report(10));
  log.report(EvalReport{});
  EXPECT_EQ(event_text(folder.path()), "");
}

}  // namespace
}  // namespace gda
