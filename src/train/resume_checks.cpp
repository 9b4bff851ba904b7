#include "train/resume_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>
#include <utility>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/train/run_saver.h"
#include "train/changed_settings.h"
#include "train/run_timeline.h"

namespace gda {
namespace {

// The configuration that a checkpoint was written with; nothing if it has none, or one of another
// version whose settings are unknown here.
std::optional<RunConfig> readable_config(const CheckpointReader& reader) {
  if (reader.run_config().empty()) return {};
  try {
    return load_run_config(reader.path() / kRunConfigFile, {});
  } catch (const ConfigError&) {
    return {};
  }
}

}  // namespace

void check_settings(const Run& run, const RunState& state, const CheckpointReader& reader) {
  constexpr std::size_t kListed = 8;
  auto useless =
      settings_without_effect(reader.run_config(), run.config().yaml(), state.stages_done);
  if (useless.size() > kListed) useless.resize(kListed);
  require<ConfigError>(useless.empty(), "no effect on a run resumed from {}: {}",
                       reader.path().string(), fmt::join(useless, "; "));
  const std::int64_t steps = run.config().train.steps;
  require<ConfigError>(steps >= state.step,
                       "train.steps: {}, but {} is at step {} already: give more, or resume from "
                       "an older checkpoint with --step",
                       steps, reader.path().string(), state.step);
}

std::string keep_decay(Run& run, std::int64_t step, const CheckpointReader& reader,
                       const ResumePoint& point) {
  const auto before = readable_config(reader);
  if (!before) return {};
  std::string command = run.resume_command();
  if (point.step) command += fmt::format(" --step {}", *point.step);
  if (point.skip_steps > 0) command += fmt::format(" --skip-steps {}", point.skip_steps);
  return run.keep_schedule_of(*before, step, command);
}

void tell_jump_of_rate(const Run& run, std::int64_t step, const CheckpointReader& reader) {
  constexpr double kJump = 1.5;
  const auto before = readable_config(reader);
  if (!before || step < 1) return;
  const double last = RunTimeline(*before).learning_rate(step - 1);
  const double next = run.timeline().learning_rate(step);
  if (next <= kJump * last && last <= kJump * next) return;
  log::warning(
      "the learning rate jumps from {:.3g} at step {} to {:.3g} at the next: the schedule of "
      "{} steps is not that of {} there",
      last, step, next, run.config().schedule.length(run.config().train.steps),
      before->schedule.length(before->train.steps));
}

void leave_newer(const Run& run, const CheckpointReader& reader) {
  for (const StepFolder& folder : list_step_folders(run.folder().checkpoints())) {
    if (folder.path == reader.path()) continue;
    const auto chosen = std::pair(reader.step(), reader.path().filename().string());
    if (std::pair(folder.name.step, folder.path.filename().string()) < chosen) continue;
    if (!folder.has_manifest || !fault_of_state(folder).empty()) continue;
    log::warning("{} is left behind: no resume takes it by itself any more", folder.path.string());
    try_to_mark(folder, fmt::format("the run went on from step {} instead", reader.step()));
  }
}

}  // namespace gda
