// The loop of a run; trainer_start.cpp has how it begins.
#include "gda/train/trainer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "train/run_timeline.h"

namespace gda {

RunOutcome Trainer::run(const StopRequest& stop) {
  reporter_.begin(progress_);
  const RunState& state = progress_.state;
  progress_.first_step = state.step;
  RunOutcome outcome;
  outcome.first_step = state.step;
  while (state.step < run_.config().train.steps) {
    outcome.stopped_by = stop.anywhere(run_.world());
    if (outcome.stopped_by != StopReason::none) break;
    run_.set_step(state.step);
    if (const auto unreadable = samples_.read(state, reporter_.timer())) end_for(*unreadable);
    if (const auto growth = stages_.grow_if_due(*samples_.first(), progress_)) {
      reporter_.report(*growth, progress_);
    }
    train_one_step();
    after_step();
  }
  saver_.save_now(progress_);
  outcome.step = state.step;
  return outcome;
}

void Trainer::train_one_step() {
  const ProfileRange range("step");
  const RunConfig& config = run_.config();
  RunState& state = progress_.state;
  const GrowthState& growth = progress_.growth;
  const std::int64_t batch_size = run_.timeline().batch_size(state.step);
  DoneStep done;
  if (growth.ramp) done.mask = growth.mask_at(state.step);
  done.lr = run_.timeline().learning_rate(state.step);
  UpdateOptions options;
  options.lr = done.lr;
  options.update = state.updates + 1;
  options.gradient_clip = config.optimizer.grad_clip;
  // The mask's value is an argument of kernels.
  options.graphs = config.train.cuda_graphs && run_.device().type == DeviceType::cuda &&
                   !growth.ramp.has_value();
  done.result = progress_.model->step.run(run_.context(), samples_.micro_batches(), options,
                                          progress_.guard, reporter_.timer());

  const std::int64_t tokens = batch_size * config.data.sequence_length;
  ++state.step;
  state.samples += batch_size;
  state.tokens += tokens;
  if (done.result.targets > 0) {
    done.flops = {.full = static_cast<double>(tokens) * progress_.flops.full,
                  .causal = static_cast<double>(tokens) * progress_.flops.causal};
    state.flops += done.flops.full;
  }
  steps_without_targets_ = done.result.targets > 0 ? 0 : steps_without_targets_ + 1;
  if (done.result.skipped.empty()) {
    ++state.updates;
  } else {
    log::warning("step {}: update skipped: {}", state.step, done.result.skipped);
  }
  progress_.last = std::move(done);
}

void Trainer::after_step() {
  follow_ramp(progress_);
  if (const auto unreadable = reporter_.after_step(progress_)) end_for(*unreadable);
  saver_.after_step(progress_);
  // A source that cannot teach anything may be drawn from now and then, but not for long.
  if (steps_without_targets_ >= run_.config().train.skip.max_consecutive_skips) {
    end_without_targets();
  }
  if (!progress_.guard.is_exhausted()) return;
  saver_.finish(progress_);
  end_diverged(run_, progress_);
}

void Trainer::end_for(const UnreadableData& data) {
  saver_.save_now(progress_);
  fail<FormatError>("{} cannot be read: {}. Step {} is saved; {}", data.what, data.fault,
                    progress_.state.step, data.way_on);
}

void Trainer::end_without_targets() {
  const auto sources = samples_.sources_of(progress_.state, steps_without_targets_);
  saver_.save_now(progress_);
  fail<FormatError>(
      "{} steps in a row had nothing to predict (train.skip.max_consecutive_skips): every token of "
      "their samples, of {}, is the last of its document. Step {} is saved; take the source out of "
      "data.sources, or join its documents with data.document_mask=false: {} "
      "data.document_mask=false",
      steps_without_targets_, fmt::join(sources, ", "), progress_.state.step,
      run_.resume_command());
}

}  // namespace gda
