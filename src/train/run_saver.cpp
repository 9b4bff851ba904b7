#include "gda/train/run_saver.h"

#include <utility>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/stream.h"
#include "gda/report/readable.h"
#include "train/run_timeline.h"

namespace gda {

void RunSaver::take_folder() {
  if (run_.is_root()) {
    const RunFolder folder = run_.folder();
    lock_ = std::make_unique<OutputLock>(folder.lock(), "the run folder " + folder.path().string());
  }
  run_.world().barrier();
}

void RunSaver::restore(const CheckpointReader& reader, RunProgress& progress) {
  allocate_model(run_, reader.growth().added, reader.path().string(), progress);
  RestoredRun restored = progress.model->checkpoints.restore(run_.context(), reader);
  progress.state = std::move(restored.state);
  progress.growth = std::move(restored.growth);
  follow_ramp(progress);
  progress.guard.restore(progress.state.guard);
  saved_step_ = progress.state.step;
}

void RunSaver::after_step(RunProgress& progress) {
  finish(progress, false, false);
  const std::int64_t every = run_.config().checkpoint.every_steps;
  is_due_ = is_due_ || (every > 0 && progress.state.step % every == 0);
  if (!is_due_) return;
  const LossGuard& guard = progress.guard;
  if (guard.consecutive() == 0) {
    save(progress, false);
  } else if (guard.consecutive() == 1 || every == 1) {
    log::warning("step {}: the checkpoint waits for an update that is not skipped",
                 progress.state.step);
  }
}

void RunSaver::save_now(RunProgress& progress) {
  if (saved_step_ != progress.state.step) save(progress, true);
  finish(progress, true, true);
}

void RunSaver::save(RunProgress& progress, bool wait) {
  const ProfileRange range("checkpoint");
  if (lock_ != nullptr) lock_->check();
  finish(progress, true, false);
  is_due_ = false;
  RunState& state = progress.state;
  state.guard = progress.guard.state();
  std::string unhealthy = fault_of_weights(run_, progress, samples_.first());
  if (!unhealthy.empty()) {
    log::warning("step {} is saved as unhealthy: {}; gda resume takes an older checkpoint",
                 state.step, unhealthy);
  }
  try {
    progress.model->checkpoints.save(run_.context(),
                                     {.model = run_.timeline().model(state.stages_done),
                                      .state = state,
                                      .growth = progress.growth,
                                      .run_config = run_.config().yaml(),
                                      .unhealthy = std::move(unhealthy)},
                                     wait);
    saved_step_ = state.step;
  } catch (const IoError& reason) {
    // The older checkpoints are whole; a later save may find the disk in order again. The last save
    // of a run has no later one.
    if (wait) throw;
    log::error("checkpoint of step {} not written, training continues: {}", state.step,
               reason.what());
  }
}

void RunSaver::finish(RunProgress& progress, bool wait, bool must_work) {
  try {
    if (const auto saved = progress.model->checkpoints.finish(wait)) {
      log::info("saved {} ({})", saved->path.string(),
                readable_bytes(static_cast<std::int64_t>(saved->bytes)));
    }
  } catch (const IoError& reason) {
    if (must_work) throw;
    saved_step_ = -1;
    log::error("checkpoint not written, training continues: {}", reason.what());
  }
}

}  // namespace gda
