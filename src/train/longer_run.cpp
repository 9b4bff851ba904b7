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

std::string keep_schedule(const RunConfig& before, RunConfig& after, std::int64_t step,
                          const std::string& command) {
  const std::int64_t steps = after.train.steps;
  if (before.schedule != after.schedule || !moves(before, steps, step)) return {};
  const std::string anew = fmt::format("{} train.steps={} schedule.steps={}  # {}", command, steps,
                                       steps, path_of_rate(RunTimeline(after), step, steps));
  after.schedule.steps = before.train.steps;
  const RunTimeline kept(after);
  const bool is_over = kept.learning_rate(step) == 0 && kept.learning_rate(steps - 1) == 0;
  require<ConfigError>(steps == step || !is_over,
                       "train.steps: {}, but the learning rate has decayed to 0 over {} steps, and "
                       "nothing would be learned from step {} on; lay the schedule out anew:\n  {}",
                       steps, before.train.steps, step + 1, anew);
  return fmt::format(
      "train.steps: {}, but the learning rate decays over {} steps, and was {:.3g} at step {}: the "
      "schedule stays as it was laid out, {} (schedule.steps={}). To lay it out anew: {}",
      steps, before.train.steps, RunTimeline(before).learning_rate(step - 1), step,
      path_of_rate(kept, step, steps), before.train.steps, anew);
}

}  // namespace gda
