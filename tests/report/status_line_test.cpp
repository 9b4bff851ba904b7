#include "gda/report/status_line.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace gda {
namespace {

Peak peak_of(double flops) {
  Peak peak;
  peak.flops = peak.measured = flops;
  return peak;
}

StepReport sample() {
  StepReport report;
  report.step = 120;
  report.total_steps = 400;
  report.loss = 5.43211;
  report.lr = 4e-4;
  report.grad_norm = 0.8123;
  report.tokens_per_second = 3412.4;
  report.flops_full = 158.2e9;
  report.flops_causal = 145.9e9;
  report.peak = peak_of(384e9);
  report.eta_seconds = 185;
  return report;
}

TEST(StatusLineTest, ColumnsLineUp) {
  const StatusLine status(400, peak_of(384e9));
  EXPECT_EQ(status.header(),
            "    step      loss         lr   grad norm    tokens/s   GFLOP/s  MFU full  causal   "
            "time left");
  EXPECT_EQ(status.line(sample()),
            " 120/400    5.4321   4.00e-04      0.8123       3,412     158.2     41.2%   38.0%    "
            "  3m 05s");
}

TEST(StatusLineTest, GpusShowTeraflops) {
  StepReport report = sample();
  report.flops_full = 395.6e12;
  report.peak = peak_of(989e12);
  const StatusLine status(400, peak_of(989e12));
  EXPECT_NE(status.header().find("TFLOP/s"), std::string::npos);
  EXPECT_NE(status.line(report).find(" 395.6     40.0%"), std::string::npos);
}

TEST(StatusLineTest, BesideADataSheetTheShareOfWhatWasMeasured) {
  StepReport report = sample();
  report.peak.flops = 500e9;
  report.peak.measured = 300e9;
  report.peak.source = Peak::Source::data_sheet;
  const StatusLine status(400, report.peak);
  EXPECT_EQ(status.header(),
            "    step      loss         lr   grad norm    tokens/s   GFLOP/s  MFU full  causal of "
            "measured   time left");
  EXPECT_EQ(
      status.line(report),
      " 120/400    5.4321   4.00e-04      0.8123       3,412     158.2     31.6%   29.2%      "
      " 48.6%      3m 05s");
  report.peak.source = Peak::Source::given;
  EXPECT_EQ(StatusLine(400, report.peak).header(), status.header());
}

TEST(StatusLineTest, NoShareIsAboveOne) {
  StepReport report = sample();
  report.peak = peak_of(150e9);  // between the causal and the full count
  EXPECT_NE(StatusLine(400, report.peak).line(report).find(" 158.2         -   97.3%"),
            std::string::npos);
  report.peak = peak_of(1e9);
  EXPECT_NE(StatusLine(400, report.peak).line(report).find(" 158.2         -       -"),
            std::string::npos);
}

TEST(StatusLineTest, GrowthIsToldAtTheEnd) {
  const StatusLine status(400, peak_of(384e9));
  StepReport report = sample();
  const std::string plain = status.line(report);
  report.mask = 0.024;
  report.parameters = 1234567;
  report.trainable_parameters = 34567;
  report.total_flops = 1.5e15;
  report.stages = 3;
  report.stage = 2;
  report.skipped = 1;
  EXPECT_EQ(
      status.line(report),
      plain +
          "  stage 2/3  mask 0.0240  1.23M parameters, 34.6k trainable  1.5e+15 FLOPs  skipped 1");
}

TEST(StatusLineTest, SkippedUpdatesAndUnknowns) {
  StepReport report = sample();
  report.skipped = 2;
  report.loss = std::numeric_limits<double>::quiet_NaN();
  report.tokens_per_second = std::numeric_limits<double>::infinity();
  report.peak = {};
  report.eta_seconds = std::numeric_limits<double>::infinity();
  EXPECT_EQ(StatusLine(400, {}).line(report),
            " 120/400       nan   4.00e-04      0.8123           -     158.2         -       -    "
            "       -  skipped 2");
}

TEST(StatusLineTest, LargeRunsKeepTheirColumns) {
  StepReport report = sample();
  report.step = 1000000;
  report.total_steps = 1000000;
  const StatusLine status(1000000, peak_of(384e9));
  EXPECT_EQ(status.line(report).size(), status.header().size());
}

TEST(StatusLineTest, HeaderComesBack) {
  StatusLine status(400, peak_of(384e9));
  int headers = 0;
  for (int i = 0; i < 41; ++i) {
    const auto lines = status.next(sample());
    EXPECT_EQ(lines.back(), status.line(sample()));
    headers += lines.front() == status.header() ? 1 : 0;
  }
  EXPECT_EQ(headers, 3);
}

}  // namespace
}  // namespace gda
