#include "gda/report/peak_flops.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace gda {
namespace {

TEST(PeakFlopsTest, IsAPlausibleSpeedInEveryType) {
  // Any processor of the last decade does 10 MFLOP/s in plain loops; none does an exaFLOP/s.
  Arena arena;
  const Context context{.stream = {}, .arena = arena};
  for (const DType compute : {DType::f64, DType::f32, DType::bf16}) {
    const double peak = measure_peak_flops(context, compute);
    EXPECT_GT(peak, 1e7);
    EXPECT_LT(peak, 1e18);
  }
}

TEST(PeakFlopsTest, ProcessesThatShareTheProcessorsHaveTheirShare) {
  Arena arena;
  const Context context{.stream = {}, .arena = arena};
  // A thousand times as many processes as now have a thousandth each; both are measured, and may
  // differ by what else the machine does.
  const double few = measure_peak_flops(context, DType::f32, 1000);
  const double many = measure_peak_flops(context, DType::f32, 1000000);
  EXPECT_LT(many, 0.01 * few);
}

Peak peak_of(Peak::Source source, double flops, double measured) {
  Peak peak;
  peak.source = source;
  peak.flops = flops;
  peak.measured = measured;
  peak.device = "H200";
  return peak;
}

TEST(PeakFlopsTest, AStepThatBeatsWhatWasMeasuredHasItMeasuredAgain) {
  Peak peak = peak_of(Peak::Source::measured, 100, 100);
  int measured = 0;
  double found = 420;
  const auto again = [&] {
    ++measured;
    return found;
  };
  EXPECT_EQ(peak.learn(99, 98, again), "");
  EXPECT_EQ(peak.learn(100, 100, again), "");
  EXPECT_EQ(measured, 0);
  EXPECT_EQ(peak.learn(267, 260, again), "");
  EXPECT_EQ(measured, 1);
  EXPECT_EQ(peak.flops, 420);
  EXPECT_EQ(peak.measured, 420);
  // A busier machine does not lower it.
  found = 50;
  EXPECT_EQ(peak.learn(400, 390, again), "");
  EXPECT_EQ(peak.flops, 420);
  // The step itself counts.
  EXPECT_EQ(peak.learn(440, 440, again), "");
  EXPECT_EQ(measured, 2);
  EXPECT_EQ(peak.flops, 440);
  EXPECT_EQ(peak.learn(450, 450), "");  // of a GPU it alone
  EXPECT_EQ(peak.flops, 450);
}

TEST(PeakFlopsTest, WhatIsNoRateIsNotTaken) {
  Peak peak = peak_of(Peak::Source::measured, 100, 100);
  for (const double rate :
       {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_EQ(peak.learn(rate, rate), "");
    EXPECT_EQ(peak.flops, 100);
  }
}

TEST(PeakFlopsTest, AGivenPeakOrADataSheetStays) {
  for (const Peak::Source source : {Peak::Source::given, Peak::Source::data_sheet}) {
    Peak peak = peak_of(source, 100e12, source == Peak::Source::given ? 0 : 80e12);
    EXPECT_EQ(peak.learn(95e12, 90e12), "");
    EXPECT_EQ(peak.measured, source == Peak::Source::given ? 0 : 90e12);
    EXPECT_EQ(peak.flops, 100e12);
    const std::string word = peak.learn(130e12, 120e12);
    EXPECT_NE(word.find("a step did 120 TFLOP/s, more than the peak of 100 TFLOP/s"),
              std::string::npos)
        << word;
    EXPECT_NE(word.find("logging.peak_tflops"), std::string::npos) << word;
    EXPECT_EQ(peak.learn(130e12, 120e12), "") << "is told once";
    EXPECT_EQ(peak.flops, 100e12);
  }
}

// The full count has operations that are not done, and may come out above any peak.
TEST(PeakFlopsTest, TheFullCountIsNoEvidence) {
  for (const Peak::Source source :
       {Peak::Source::given, Peak::Source::data_sheet, Peak::Source::measured}) {
    Peak peak = peak_of(source, 100, 100);
    const std::string word = peak.learn(120, 90);
    EXPECT_NE(word.find("counted in full"), std::string::npos) << word;
    EXPECT_EQ(peak.flops, 100);
    EXPECT_EQ(peak.measured, 100);
    EXPECT_EQ(peak.learn(120, 90), "");
  }
}

TEST(PeakFlopsTest, SaysWhereItIsFrom) {
  EXPECT_EQ(peak_of(Peak::Source::data_sheet, 989.4e12, 801.26e12).str(),
            "989.4 TFLOP/s (data sheet, H200); products measured at 801.3");
  EXPECT_EQ(peak_of(Peak::Source::measured, 0.42e12, 0.42e12).str(), "0.42 TFLOP/s (measured)");
  EXPECT_EQ(peak_of(Peak::Source::given, 1e12, 0).str(), "1 TFLOP/s (logging.peak_tflops)");
  EXPECT_EQ(Peak().str(), "not known");
}

}  // namespace
}  // namespace gda
