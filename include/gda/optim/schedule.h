// Learning-rate schedules: the `schedule` section of a run's configuration.
//
// With peak rate p, final share m = min_lr_ratio, N steps in all (`steps`, or those of the run), W
// warm-up steps and step s from 0:
//   warm-up    s < W              p (s + 1) / W           the peak is reached at s = W - 1
//   constant   s >= W             p
//   linear     W <= s < N         p (m + (1 - m) (1 - x))            x = (s + 1 - W) / (N - W)
//   cosine     W <= s < N         p (m + (1 - m) (1 + cos(pi x)) / 2)
//   wsd        W <= s < N - K     p                                  K = round(decay_fraction N),
//              N - K <= s < N     p decay(x)      at most N - W;     x = (s + 1 - (N - K)) / K
//     decay    1-sqrt             m + (1 - m) (1 - sqrt x)
//              linear             m + (1 - m) (1 - x)
//              exponential        m^x
// x is 1 at the last step, s = N - 1, so a run ends on exactly p m; later steps keep that rate.
// With `steps` the curve stays where it is when a run becomes longer or shorter.
//
// wsd (warm-up, stable, decay): Hu et al., "MiniCPM", 2024. 1-sqrt: Haegele et al., "Scaling Laws
// and Compute-Optimal Training Beyond Fixed Training Durations", 2024.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "gda/config/fields.h"

namespace gda {

enum class ScheduleName : std::uint8_t { constant, cosine, linear, wsd };
template <>
inline constexpr auto kWordsOf<ScheduleName> = words("constant", "cosine", "linear", "wsd");

enum class DecayShape : std::uint8_t { one_minus_sqrt, linear, exponential };
template <>
inline constexpr auto kWordsOf<DecayShape> = words("1-sqrt", "linear", "exponential");

struct ScheduleConfig {
  ScheduleName name = ScheduleName::wsd;
  std::optional<std::int64_t> steps = {};  // N; nothing: those of the run
  std::int64_t warmup_steps = 0;
  double decay_fraction = 0.2;                          // wsd
  DecayShape decay_shape = DecayShape::one_minus_sqrt;  // wsd
  double min_lr_ratio = 0.1;                            // cosine, linear, wsd

  // N in a run of so many steps.
  std::int64_t length(std::int64_t run_steps) const { return steps.value_or(run_steps); }

  bool operator==(const ScheduleConfig&) const = default;

  void fields(FieldVisitor& visit);
};

// The rate of step `step` (from 0) in a run of `run_steps`. The configuration must be valid and
// have at most N warm-up steps.
double learning_rate(const ScheduleConfig& schedule, double peak_lr, std::int64_t run_steps,
                     std::int64_t step);

}  // namespace gda
