#include "gda/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gda {
namespace {

// Share of the peak at progress x in (0, 1]. Each form is exactly m at x = 1.
double decayed(const ScheduleConfig& schedule, double x) {
  const double m = schedule.min_lr_ratio;
  const DecayShape shape =
      schedule.name == ScheduleName::wsd ? schedule.decay_shape : DecayShape::linear;
  if (schedule.name == ScheduleName::cosine) {
    return m + (1 - m) * (1 + std::cos(std::numbers::pi * x)) / 2;
  }
  if (shape == DecayShape::one_minus_sqrt) return m + (1 - m) * (1 - std::sqrt(x));
  if (shape == DecayShape::exponential) return std::pow(m, x);
  return m + (1 - m) * (1 - x);
}

}  // namespace

void ScheduleConfig::fields(FieldVisitor& visit) {
  const ScheduleConfig preset;
  visit.field({.key = "name",
               .doc = "shape after the warm-up; wsd stays at the peak and decays at the end"},
              name);
  visit.field({.key = "steps",
               .doc = "steps that the curve is laid out over, later ones keep its last rate; null: "
                      "train.steps",
               .minimum = 1},
              steps);
  visit.field({.key = "warmup_steps",
               .doc = "steps of linear rise; the last of them has the peak rate",
               .minimum = 0},
              warmup_steps);
  visit.field({.key = "decay_fraction",
               .doc = "share of all steps at the end in which wsd decays",
               .minimum = 0,
               .maximum = 1},
              decay_fraction);
  visit.field({.key = "decay_shape", .doc = "how wsd decays"}, decay_shape);
  visit.field({.key = "min_lr_ratio",
               .doc = "rate of the last step as a share of the peak; cosine, linear and wsd",
               .minimum = 0,
               .maximum = 1},
              min_lr_ratio);
  const bool is_wsd = name == ScheduleName::wsd;
  visit.rule("decay_fraction", is_wsd || decay_fraction == preset.decay_fraction,
             "only schedule.name wsd has a decay phase; remove this key");
  visit.rule("decay_shape", is_wsd || decay_shape == preset.decay_shape,
             "only schedule.name wsd has a decay phase; remove this key");
  visit.rule("steps", name != ScheduleName::constant || !steps,
             "a constant schedule has no end; remove this key");
  visit.rule("min_lr_ratio", name != ScheduleName::constant || min_lr_ratio == preset.min_lr_ratio,
             "a constant schedule does not decay; remove this key");
  visit.rule("min_lr_ratio", !is_wsd || decay_shape != DecayShape::exponential || min_lr_ratio > 0,
             "exponential decay never reaches 0; give a ratio above 0 or another decay_shape");
}

double learning_rate(const ScheduleConfig& schedule, double peak_lr, std::int64_t run_steps,
                     std::int64_t step) {
  const std::int64_t total_steps = schedule.length(run_steps);
  if (step < schedule.warmup_steps) {
    return peak_lr * (static_cast<double>(step + 1) / static_cast<double>(schedule.warmup_steps));
  }
  if (schedule.name == ScheduleName::constant) return peak_lr;
  const bool is_wsd = schedule.name == ScheduleName::wsd;
  std::int64_t decay_steps = total_steps - schedule.warmup_steps;
  if (is_wsd) {
    const double wanted = schedule.decay_fraction * static_cast<double>(total_steps);
    decay_steps = std::min(decay_steps, static_cast<std::int64_t>(std::llround(wanted)));
    // A run without a decay phase stays at the peak.
    if (decay_steps == 0) return peak_lr;
  }
  const std::int64_t decay_begin = total_steps - decay_steps;
  if (step < decay_begin) return peak_lr;
  const double progress = step >= total_steps ? 1.0
                                              : static_cast<double>(step + 1 - decay_begin) /
                                                    static_cast<double>(decay_steps);
  return peak_lr * decayed(schedule, progress);
}

}  // namespace gda
