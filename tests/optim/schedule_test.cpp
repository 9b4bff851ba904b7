#include "gda/optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "gda/core/error.h"

namespace gda {
namespace {

// A handful of roundings of numbers up to 1.
constexpr double kTolerance = 8 * std::numeric_limits<double>::epsilon();

double rate(const ScheduleConfig& schedule, std::int64_t total_steps, std::int64_t step) {
  return learning_rate(schedule, 0.5, total_steps, step);
}

TEST(Schedule, WarmupRisesLinearlyToThePeak) {
  for (const char* name : {"constant", "cosine", "linear", "wsd"}) {
    const ScheduleConfig schedule{.name = from_word<ScheduleName>(name).value(), .warmup_steps = 4};
    EXPECT_EQ(rate(schedule, 100, 0), 0.5 * 0.25);
    EXPECT_EQ(rate(schedule, 100, 1), 0.5 * 0.5);
    EXPECT_EQ(rate(schedule, 100, 3), 0.5) << name;
    EXPECT_LE(rate(schedule, 100, 4), 0.5) << name;
  }
}

TEST(Schedule, EndsOnExactlyTheSmallestRateAndKeepsIt) {
  for (const char* name : {"cosine", "linear", "wsd"}) {
    for (const char* shape : {"1-sqrt", "linear", "exponential"}) {
      const ScheduleConfig schedule{.name = from_word<ScheduleName>(name).value(),
                                    .warmup_steps = 7,
                                    .decay_shape = from_word<DecayShape>(shape).value(),
                                    .min_lr_ratio = 0.1};
      EXPECT_EQ(rate(schedule, 101, 100), 0.5 * 0.1) << name << " " << shape;
      EXPECT_EQ(rate(schedule, 101, 101), 0.5 * 0.1);
      EXPECT_EQ(rate(schedule, 101, 5000), 0.5 * 0.1);
    }
  }
}

TEST(Schedule, NeverRisesAfterTheWarmup) {
  for (const char* name : {"constant", "cosine", "linear", "wsd"}) {
    const ScheduleConfig schedule{
        .name = from_word<ScheduleName>(name).value(), .warmup_steps = 5, .min_lr_ratio = 0};
    for (std::int64_t step = 5; step < 60; ++step) {
      EXPECT_LE(rate(schedule, 53, step), rate(schedule, 53, step - 1)) << name << step;
    }
  }
}

TEST(Schedule, ItsOwnStepsCountInARunOfAnyLength) {
  for (const char* name : {"cosine", "linear", "wsd"}) {
    const ScheduleConfig plain{.name = from_word<ScheduleName>(name).value(), .warmup_steps = 7};
    ScheduleConfig own = plain;
    own.steps = 50;
    for (const std::int64_t run_steps : {20, 50, 300}) {
      for (const std::int64_t step : {0, 6, 7, 19, 45, 49, 50, 299}) {
        EXPECT_EQ(rate(own, run_steps, step), rate(plain, 50, step)) << name << step;
      }
    }
  }
}

TEST(Schedule, ConstantStays) {
  const ScheduleConfig schedule{.name = ScheduleName::constant};
  EXPECT_EQ(rate(schedule, 10, 0), 0.5);
  EXPECT_EQ(rate(schedule, 10, 9), 0.5);
  EXPECT_EQ(rate(schedule, 10, 20), 0.5);
}

TEST(Schedule, CosineAndLinearAreHalfWayInTheMiddle) {
  // Of steps 10 to 29, step 19 is the tenth of twenty.
  ScheduleConfig schedule{.name = ScheduleName::cosine, .warmup_steps = 10, .min_lr_ratio = 0.2};
  EXPECT_NEAR(rate(schedule, 30, 19), 0.5 * 0.6, kTolerance);
  EXPECT_NEAR(rate(schedule, 30, 14), 0.5 * (0.2 + 0.8 * (1 + std::sqrt(0.5)) / 2), kTolerance);
  schedule.name = ScheduleName::linear;
  EXPECT_NEAR(rate(schedule, 30, 19), 0.5 * 0.6, kTolerance);
  EXPECT_NEAR(rate(schedule, 30, 14), 0.5 * 0.8, kTolerance);
}

TEST(Schedule, WsdStaysThenDecays) {
  // The last 20 of 100 steps: step 84 is the fifth of them, a quarter of the way.
  ScheduleConfig schedule{.name = ScheduleName::wsd, .decay_fraction = 0.2, .min_lr_ratio = 0.2};
  EXPECT_EQ(rate(schedule, 100, 0), 0.5);
  EXPECT_EQ(rate(schedule, 100, 79), 0.5);
  EXPECT_LT(rate(schedule, 100, 80), 0.5);
  EXPECT_NEAR(rate(schedule, 100, 84), 0.5 * (0.2 + 0.8 * 0.5), kTolerance);
  schedule.decay_shape = DecayShape::linear;
  EXPECT_NEAR(rate(schedule, 100, 84), 0.5 * (0.2 + 0.8 * 0.75), kTolerance);
  schedule.decay_shape = DecayShape::exponential;
  EXPECT_NEAR(rate(schedule, 100, 84), 0.5 * std::pow(0.2, 0.25), kTolerance);
}

// A share of all steps, those of the warm-up too.
TEST(Schedule, WsdDecaysForAShareOfAllSteps) {
  const ScheduleConfig schedule{
      .name = ScheduleName::wsd, .warmup_steps = 50, .decay_fraction = 0.2};
  EXPECT_EQ(rate(schedule, 100, 79), 0.5);
  EXPECT_LT(rate(schedule, 100, 80), 0.5);
  EXPECT_EQ(rate(schedule, 100, 99), 0.5 * schedule.min_lr_ratio);
}

TEST(Schedule, WsdDecayGivesWayToTheWarmup) {
  const ScheduleConfig schedule{.name = ScheduleName::wsd,
                                .warmup_steps = 8,
                                .decay_fraction = 1,
                                .decay_shape = DecayShape::linear};
  EXPECT_EQ(rate(schedule, 10, 7), 0.5);
  EXPECT_NEAR(rate(schedule, 10, 8), 0.5 * 0.55, kTolerance);
  EXPECT_EQ(rate(schedule, 10, 9), 0.5 * 0.1);
}

TEST(Schedule, WsdWithoutADecayPhaseIsConstant) {
  const ScheduleConfig schedule{.name = ScheduleName::wsd, .decay_fraction = 0};
  EXPECT_EQ(rate(schedule, 10, 9), 0.5);
  EXPECT_EQ(rate(schedule, 10, 12), 0.5);
}

TEST(Schedule, ShortestRuns) {
  EXPECT_EQ(rate({.name = ScheduleName::cosine}, 1, 0), 0.5 * 0.1);
  EXPECT_EQ(rate({.name = ScheduleName::cosine, .warmup_steps = 1}, 1, 0), 0.5);
}

TEST(ScheduleConfig, RejectsWhatCannotWork) {
  const auto error_of = [](const std::string& text) -> std::string {
    ScheduleConfig config;
    try {
      read_yaml(text, "x.yaml", {}, [&](FieldVisitor& visit) { config.fields(visit); });
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "(no error)";
  };
  EXPECT_EQ(error_of("name: cosin"),
            "x.yaml:1: name: must be one of constant, cosine, linear, wsd, got \"cosin\"; did you "
            "mean \"cosine\"?");
  EXPECT_EQ(error_of("decay_shape: sqrt"),
            "x.yaml:1: decay_shape: must be one of 1-sqrt, linear, exponential, got \"sqrt\"; did "
            "you mean \"1-sqrt\"?");
  EXPECT_EQ(error_of("{name: cosine, decay_fraction: 0.3}"),
            "x.yaml:1: decay_fraction: only schedule.name wsd has a decay phase; remove this key");
  EXPECT_EQ(error_of("{name: linear, decay_shape: linear}"),
            "x.yaml:1: decay_shape: only schedule.name wsd has a decay phase; remove this key");
  EXPECT_EQ(error_of("{name: constant, min_lr_ratio: 0.5}"),
            "x.yaml:1: min_lr_ratio: a constant schedule does not decay; remove this key");
  EXPECT_EQ(error_of("{decay_shape: exponential, min_lr_ratio: 0}"),
            "x.yaml:1: min_lr_ratio: exponential decay never reaches 0; give a ratio above 0 or "
            "another decay_shape");
  EXPECT_EQ(error_of("warmup_steps: -1"), "x.yaml:1: warmup_steps: must be at least 0, got -1");
  EXPECT_EQ(error_of("decay_fraction: 1.2"),
            "x.yaml:1: decay_fraction: must be at most 1, got 1.2");
}

}  // namespace
}  // namespace gda
