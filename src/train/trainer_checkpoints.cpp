// How a run is saved, gone on with, and kept from losing its way: which states are healthy.
//
// A state is saved as healthy when no update is being skipped, its weights are finite and so is the
// loss of the last samples. If every update from its weights was skipped until the guard ended the
// run, the mark is taken back: only an accepted step proves weights.
#include <fmt/format.h>

#include <cmath>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/shell.h"
#include "gda/core/stream.h"
#include "gda/core/text.h"
#include "gda/ops/elementwise.h"
#include "gda/train/longer_run.h"
#include "gda/train/readable.h"
#include "gda/train/trainer.h"
#include "train/changed_settings.h"
#include "train/run_timeline.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

fs::path checkpoints_of(const RunConfig& config) {
  return fs::path(config.run_dir) / "checkpoints";
}

// A mark that cannot be written is told, and changes nothing else.
void try_to_mark(const StepFolder& folder, const std::string& reason) {
  try {
    mark_unhealthy(folder.path, reason);
  } catch (const Error& error) {
    log::warning("{} cannot be marked as unhealthy: {}", folder.path.string(), error.what());
  }
}

// The newest step before `step` with a healthy checkpoint; else that of `step` itself.
std::optional<std::int64_t> healthy_step_before(const RunConfig& config, std::int64_t step) {
  std::optional<std::int64_t> found;
  for (const StepFolder& folder : list_step_folders(checkpoints_of(config))) {
    if (!folder.has_manifest || !fault_of_state(folder).empty()) continue;
    if (folder.name.step < step || (folder.name.step == step && !found)) found = folder.name.step;
  }
  return found;
}

// The configuration that a checkpoint was written with; nothing if it has none, or one of another
// version whose settings are unknown here.
std::optional<RunConfig> readable_config(const CheckpointReader& reader) {
  if (reader.run_config().empty()) return {};
  try {
    return load_run_config(reader.path() / "config.yaml", {});
  } catch (const ConfigError&) {
    return {};
  }
}

std::string way_back(const RunConfig& config, std::int64_t accepted, std::int64_t step) {
  const auto healthy = healthy_step_before(config, accepted);
  if (!healthy) {
    return "No healthy checkpoint is left from before them: begin anew with a lower optimizer.lr, "
           "or other data";
  }
  return fmt::format(
      "Resume from before them with: gda resume {} --step {}, and a lower optimizer.lr or "
      "optimizer.grad_clip where the model diverges, or --skip-steps {}, which leaves the samples "
      "of those steps out, where they are at fault",
      shell_word(config.run_dir), *healthy, step - *healthy);
}

}  // namespace

void Trainer::resume(const ResumePoint& point) {
  const fs::path folder = checkpoints_of(config_);
  lock_folder();
  std::optional<CheckpointReader> reader;
  if (point.step) {
    reader = checkpoint_of_step(folder, *point.step, &world_);
  } else {
    reader = newest_whole_checkpoint(folder, &world_);
  }
  require<ConfigError>(reader.has_value(), "{} holds no checkpoint to resume from",
                       folder.string());
  state_ = parse_run_state(reader->trainer_json(), (reader->path() / "trainer.json").string());
  check_growths(*reader);
  check_settings(*reader);
  const std::string kept = keep_decay(*reader, point);
  check_data(*reader, point);
  find_peak();
  restore(*reader);
  state_.data = data_facts_.record;
  open_folder(true);
  log::info("resuming from {} (step {}, written by {})", reader->path().string(), state_.step,
            counted(reader->manifest().world_size, "rank"));
  for (const std::string& change : changed_settings(reader->run_config(), config_.yaml())) {
    log::warning("setting changed since that checkpoint: {}", change);
  }
  if (!kept.empty()) log::warning("{}", kept);
  tell_jump_of_rate(*reader);
  if (point.step && world_.rank() == 0) leave_newer(*reader);
  if (point.skip_steps > 0) {
    state_.samples += timeline_->first_sample(state_.step + point.skip_steps) -
                      timeline_->first_sample(state_.step);
    log::warning("the samples of {} are left out: the next is sample {} of the run",
                 counted(point.skip_steps, "step"), state_.samples);
  }
}

// What was set anew has an effect, or is refused.
void Trainer::check_settings(const CheckpointReader& reader) const {
  constexpr std::size_t kListed = 8;
  auto useless = settings_without_effect(reader.run_config(), config_.yaml(), state_.growths);
  if (useless.size() > kListed) useless.resize(kListed);
  require<ConfigError>(useless.empty(), "no effect on a run resumed from {}: {}",
                       reader.path().string(), fmt::join(useless, "; "));
  require<ConfigError>(
      config_.train.steps >= state_.step,
      "train.steps: {}, but {} is at step {} already: give more, or resume from an "
      "older checkpoint with --step",
      config_.train.steps, reader.path().string(), state_.step);
}

// A run that had begun to decay goes on as its schedule was laid out, unless it is said otherwise.
// Returns what is to be told of it, once there is a log.
std::string Trainer::keep_decay(const CheckpointReader& reader, const ResumePoint& point) {
  const auto before = readable_config(reader);
  if (!before) return {};
  std::string command = "gda resume " + shell_word(config_.run_dir);
  if (point.step) command += fmt::format(" --step {}", *point.step);
  if (point.skip_steps > 0) command += fmt::format(" --skip-steps {}", point.skip_steps);
  std::string kept = keep_schedule(*before, config_, state_.step, command);
  if (!kept.empty()) timeline_ = std::make_unique<RunTimeline>(config_);
  return kept;
}

// A schedule that was changed in its middle may begin at quite another rate.
void Trainer::tell_jump_of_rate(const CheckpointReader& reader) const {
  constexpr double kJump = 1.5;
  const auto before = readable_config(reader);
  if (!before || state_.step < 1) return;
  const double last = RunTimeline(*before).learning_rate(state_.step - 1);
  const double next = timeline_->learning_rate(state_.step);
  if (next <= kJump * last && last <= kJump * next) return;
  log::warning(
      "the learning rate jumps from {:.3g} at step {} to {:.3g} at the next: the schedule of "
      "{} steps is not that of {} there",
      last, state_.step, next, config_.schedule.length(config_.train.steps),
      before->schedule.length(before->train.steps));
}

// The model of state_.growths and everything else from a checkpoint.
void Trainer::restore(const CheckpointReader& reader) {
  allocate_model(reader.growth().added, reader.path().string());
  RestoredRun restored = model_->checkpoints.restore(context(), reader);
  state_ = std::move(restored.state);
  growth_ = std::move(restored.growth);
  follow_ramp();
  guard_.restore(state_.guard);
  saved_step_ = state_.step;
}

void Trainer::leave_newer(const CheckpointReader& reader) const {
  for (const StepFolder& folder : list_step_folders(checkpoints_of(config_))) {
    if (folder.path == reader.path()) continue;
    const auto chosen = std::pair(reader.step(), reader.path().filename().string());
    if (std::pair(folder.name.step, folder.path.filename().string()) < chosen) continue;
    if (!folder.has_manifest || !fault_of_state(folder).empty()) continue;
    log::warning("{} is left behind: no resume takes it by itself any more", folder.path.string());
    try_to_mark(folder, fmt::format("the run went on from step {} instead", reader.step()));
  }
}

void Trainer::save_if_due() {
  if (!save_is_due_) return;
  if (guard_.consecutive() == 0) {
    save(false);
  } else if (guard_.consecutive() == 1 || config_.checkpoint.every_steps == 1) {
    log::warning("step {}: the checkpoint waits for an update that is not skipped", state_.step);
  }
}

void Trainer::save(bool wait) {
  const ProfileRange range("checkpoint");
  if (lock_ != nullptr) lock_->check();
  finish_save(true, false);
  save_is_due_ = false;
  state_.guard = guard_.state();
  std::string unhealthy = fault_of_weights();
  if (!unhealthy.empty()) {
    log::warning("step {} is saved as unhealthy: {}; gda resume takes an older checkpoint",
                 state_.step, unhealthy);
  }
  try {
    model_->checkpoints.save(context(),
                             {.model = model_config(),
                              .state = state_,
                              .growth = growth_,
                              .run_config = config_.yaml(),
                              .unhealthy = std::move(unhealthy)},
                             wait);
    saved_step_ = state_.step;
  } catch (const IoError& reason) {
    // The older checkpoints are whole; a later save may find the disk in order again. The last save
    // of a run has no later one.
    if (wait) throw;
    log::error("checkpoint of step {} not written, training continues: {}", state_.step,
               reason.what());
  }
}

void Trainer::finish_save(bool wait, bool must_work) {
  try {
    if (const auto saved = model_->checkpoints.finish(wait)) {
      log::info("saved {} ({})", saved->path.string(),
                readable_bytes(static_cast<std::int64_t>(saved->bytes)));
    }
  } catch (const IoError& reason) {
    if (must_work) throw;
    saved_step_ = -1;
    log::error("checkpoint not written, training continues: {}", reason.what());
  }
}

// Why a run should not go on from the state as it is; the same on every rank.
std::string Trainer::fault_of_weights() {
  if (guard_.consecutive() > 0) {
    return fmt::format("{} in a row {} skipped before it was saved{}",
                       counted(guard_.consecutive(), "update"),
                       guard_.consecutive() == 1 ? "was" : "were",
                       last_.skipped.empty() ? "" : ", the last because " + last_.skipped);
  }
  model_->buckets.wait_all();
  double squares = 0;
  {
    const ArenaScope scope(arena_);
    const auto pieces = model_->optimizer.pieces();
    const auto count = static_cast<std::int64_t>(pieces.size());
    const Tensor sums = arena_.allocate(DType::f64, {std::max<std::int64_t>(1, count)});
    for (std::int64_t i = 0; i < count; ++i) {
      sum_of_squares(context(), pieces[static_cast<std::size_t>(i)].master, sums.rows(i, 1));
    }
    const HostCopy host(stream_.get(), sums);
    for (std::int64_t i = 0; i < count; ++i) squares += host[i];
  }
  if (!std::isfinite(world_.all_reduce(squares, Reduction::sum))) {
    return "its weights are not finite";
  }
  if (!samples_are_read_ || micro_batches_.empty()) return {};
  const std::optional<double> loss = loss_of(micro_batches_.front());
  if (!loss || std::isfinite(*loss)) return {};
  return fmt::format("the loss of its weights is {}", *loss);
}

void Trainer::end_if_diverged() {
  if (!guard_.is_exhausted()) return;
  finish_save(true, false);
  const std::int64_t accepted = state_.step - guard_.consecutive();
  std::string advice;
  if (world_.rank() == 0) {
    for (const StepFolder& folder : list_step_folders(checkpoints_of(config_))) {
      const bool is_own = folder.name.step > first_step_;
      if (!is_own || folder.name.step < accepted || !fault_of_state(folder).empty()) continue;
      try_to_mark(folder,
                  fmt::format("every update from its weights was skipped ({})", last_.skipped));
    }
    advice = way_back(config_, accepted, state_.step);
  }
  advice = world_.broadcast(advice, 0);
  fail<Error>(
      "{} in a row {} skipped (train.skip.max_consecutive_skips), the last because {}. "
      "{}",
      counted(guard_.consecutive(), "update"), guard_.consecutive() == 1 ? "was" : "were",
      last_.skipped, advice);
}

}  // namespace gda
