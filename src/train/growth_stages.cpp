#include "gda/train/growth_stages.h"

#include <limits>
#include <utility>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/growth/grow_checkpoint.h"
#include "train/run_timeline.h"

namespace gda {

void GrowthStages::check(const CheckpointReader& reader, const RunState& state) const {
  const RunTimeline& timeline = run_.timeline();
  const std::int64_t listed = timeline.stages();
  require<ConfigError>(state.stages_done <= listed,
                       "growth.stages: {} listed, but {} has done {}; the stages that are done "
                       "must stay in the configuration",
                       listed, reader.path().string(), state.stages_done);
  if (state.stages_done == listed) return;
  const std::int64_t next = timeline.stage_step(state.stages_done);
  require<ConfigError>(next >= state.step,
                       "growth.stages: stage {} begins at step {}, but {} is at step {} without "
                       "it; give a later step",
                       state.stages_done + 1, next, reader.path().string(), state.step);
}

std::optional<GrowthReport> GrowthStages::grow_if_due(const Batch& sample, RunProgress& progress) {
  const RunState& state = progress.state;
  if (state.stages_done == run_.timeline().stages()) return {};
  if (run_.timeline().stage_step(state.stages_done) != state.step) return {};
  return grow(sample, progress);
}

GrowthReport GrowthStages::grow(const Batch& sample, RunProgress& progress) {
  const RunConfig& config = run_.config();
  const RunTimeline& timeline = run_.timeline();
  RunState& state = progress.state;
  const std::int64_t number = state.stages_done + 1;
  const GrowthStageConfig& stage = timeline.stage(state.stages_done);
  const std::filesystem::path folder = run_.folder().checkpoints();
  GrowthReport report;
  report.step = state.step;
  report.stage = number;
  report.parameters_before = parameter_count(timeline.model(state.stages_done));
  progress.model->buckets.wait_all();
  // (samples without a target have no loss)
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  report.loss_before = loss_of(run_, *progress.model, sample).value_or(kNone);
  saver_.save_now(progress);
  // Two models are never in memory.
  progress.model.reset();
  run_.arena() = Arena(run_.device());
  log::info("growth stage {} of {} at step {}", number, timeline.stages(), state.step);
  const CheckpointReader from(folder / step_folder_name({.step = state.step}),
                              Verification::everything, &run_.world());
  RunState grown = state;
  grown.stages_done = number;
  const GrowthMap map = stage.plan.value().map(from.config());
  const SavedCheckpoint saved = grow_checkpoint(run_.world(), from, map,
                                                {.seed = static_cast<std::uint64_t>(stage.seed),
                                                 .updates = state.updates,
                                                 .run_config = config.yaml(),
                                                 .trainer_json = grown.json(),
                                                 .same_run = true},
                                                {.directory = folder,
                                                 .keep_last = config.checkpoint.keep_last,
                                                 .keep_every = config.checkpoint.keep_every});
  state = std::move(grown);
  saver_.restore(CheckpointReader(saved.path, Verification::everything, &run_.world()), progress);
  report.parameters = parameter_count(timeline.model(state.stages_done));
  report.loss = loss_of(run_, *progress.model, sample).value_or(kNone);
  report.preserving = map.preserving;
  return report;
}

}  // namespace gda
