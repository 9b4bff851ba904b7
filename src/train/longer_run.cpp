#include "gda/train/longer_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "gda/core/error.h"
#include "train/run_timeline.h"

namespace gda {
namespace {

RunConfig with_steps(RunConfig config, std::int64_t steps) {
  config.train.steps = steps;
  return config;
}

// Whether the last step that is done would have had another rate in a run of so many steps.
bool moves(const RunConfig& config, std::int64_t steps, std::int64_t step) {
  if (step < 1) return false;
  return RunTimeline(with_steps(config, steps)).learning_rate(step - 1) !=
         RunTimeline(config).learning_rate(step - 1);
}

std::string path_of_rate(const RunTimeline& timeline, std::int64_t step, std::int64_t steps) {
  const double next = timeline.learning_rate(step);
  const double last = timeline.learning_rate(std::max(step, steps - 1));
  if (next == last) return fmt::format("{:.3g} from step {} on", next, step + 1);
  return fmt::format("{:.3g} at step {}, {:.3g} at step {}", next, step + 1, last, steps);
}

}  // namespace

std::string settings_to_train_on(const RunConfig& config, std::int64_t step) {
  const std::int64_t steps = std::max<std::int64_t>(1, 2 * step);
  RunConfig curve = config;
  curve.train.steps = config.schedule.length(config.train.steps);
  curve.schedule.steps.reset();
  std::string settings = fmt::format("train.steps={}", steps);
  if (moves(curve, steps, step)) settings += fmt::format(" schedule.steps={}", steps);
  return settings;
}

void check_schedule(const RunConfig& before, const RunConfig& after, std::int64_t step,
                    const std::string& command) {
  const std::int64_t steps = after.train.steps;
  if (before.schedule != after.schedule || !moves(before, steps, step)) return;
  RunConfig kept = after;
  kept.schedule.steps = before.train.steps;
  fail<ConfigError>(
      "train.steps: {}, but the learning rate decays over {} steps, and was {:.3g} at step {}; say "
      "with schedule.steps how it goes on:\n"
      "  {} train.steps={} schedule.steps={}  # as it was laid out: {}\n"
      "  {} train.steps={} schedule.steps={}  # laid out anew: {}",
      steps, before.train.steps, RunTimeline(before).learning_rate(step - 1), step, command, steps,
      before.train.steps, path_of_rate(RunTimeline(kept), step, steps), command, steps, steps,
      path_of_rate(RunTimeline(after), step, steps));
}

}  // namespace gda
