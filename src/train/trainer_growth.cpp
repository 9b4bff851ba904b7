// The growth stages of a run: the model is saved, grown on the disk as `gda grow` does it, and read
// again, so that a run that is killed in between goes on before or after the growth.
#include <fmt/format.h>

#include <limits>
#include <optional>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/eval/loss.h"
#include "gda/growth/grow_checkpoint.h"
#include "gda/train/readable.h"
#include "gda/train/trainer.h"
#include "train/run_timeline.h"

namespace gda {

void Trainer::check_growths(const CheckpointReader& reader) const {
  const std::int64_t listed = timeline_->stages();
  require<ConfigError>(state_.growths <= listed,
                       "growth.stages: {} listed, but {} has done {}; the stages that are done "
                       "must stay in the configuration",
                       listed, reader.path().string(), state_.growths);
  if (state_.growths == listed) return;
  const std::int64_t next = timeline_->stage_step(state_.growths);
  require<ConfigError>(next >= state_.step,
                       "growth.stages: stage {} begins at step {}, but {} is at step {} without "
                       "it; give a later step",
                       state_.growths + 1, next, reader.path().string(), state_.step);
}

void Trainer::grow_if_due() {
  if (state_.growths == timeline_->stages()) return;
  if (timeline_->stage_step(state_.growths) == state_.step) grow();
}

void Trainer::grow() {
  const std::int64_t number = state_.growths + 1;
  const GrowthStageConfig& stage = timeline_->stage(state_.growths);
  const std::filesystem::path folder = std::filesystem::path(config_.run_dir) / "checkpoints";
  GrowthReport report;
  report.step = state_.step;
  report.stage = number;
  report.parameters_before = parameter_count(model_config());
  model_->buckets.wait_all();
  // (samples without a target have no loss)
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  report.loss_before = loss_of(micro_batches_.front()).value_or(kNone);
  if (saved_step_ != state_.step) save(true);
  finish_save(true, true);
  // Two models are never in memory.
  model_.reset();
  arena_ = Arena(device_);
  log::info("growth stage {} of {} at step {}", number, timeline_->stages(), state_.step);
  const CheckpointReader from(folder / step_folder_name({.step = state_.step}),
                              Verification::on_first_use);
  RunState grown = state_;
  grown.growths = number;
  const GrowthMap map = stage.plan.value().map(from.config());
  const SavedCheckpoint saved = grow_checkpoint(world_, from, map,
                                                {.seed = static_cast<std::uint64_t>(stage.seed),
                                                 .updates = state_.updates,
                                                 .run_config = config_.yaml(),
                                                 .trainer_json = grown.json(),
                                                 .same_run = true},
                                                {.directory = folder,
                                                 .keep_last = config_.checkpoint.keep_last,
                                                 .keep_every = config_.checkpoint.keep_every});
  state_ = std::move(grown);
  restore(CheckpointReader(saved.path, Verification::everything, &world_));
  report.parameters = parameter_count(model_config());
  report.loss = loss_of(micro_batches_.front()).value_or(kNone);
  report.preserving = map.preserving;
  if (log_ != nullptr) log_->report(report);
  log_page();
}

// Over the batches of all ranks; nothing if they have no target.
std::optional<double> Trainer::loss_of(const Batch& batch) {
  const ArenaScope scope(arena_);
  const Tensor loss =
      arena_.allocate(model_->decoder.statistics_type(), batch.targets.tensor.shape());
  const PlacedBatch placed = place(context(), batch);
  model_->decoder.forward_loss(context(), placed.input, placed.target, loss);
  Communicator& replicas = mesh_.group(Axis::data);
  const double total = replicas.all_reduce(sum_of_losses(stream_.get(), loss), Reduction::sum);
  const std::int64_t targets = replicas.all_reduce(batch.target_count(), Reduction::sum);
  if (targets == 0) return {};
  return total / static_cast<double>(targets);
}

}  // namespace gda
