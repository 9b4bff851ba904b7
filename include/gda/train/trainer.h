// A training run from its first step, or from a checkpoint, to its end: the loop over what the run
// is made of.
//
//   Run           what it stands on: configuration, ranks, device, data
//   RunProgress   how far it is: counters, model, optimizer; what checkpoints bring back
//   StepSamples   the samples of the coming step
//   GrowthStages  make the model bigger on the way
//   RunSaver      saves, and says which states are healthy
//   Reporter      tells people: log, metrics, evaluations, samples of text
#pragma once

#include <cstdint>
#include <optional>

#include "gda/dist/communicator.h"
#include "gda/train/growth_stages.h"
#include "gda/train/reporter.h"
#include "gda/train/run.h"
#include "gda/train/run_progress.h"
#include "gda/train/run_saver.h"
#include "gda/train/step_samples.h"
#include "gda/train/stop_request.h"

namespace gda {

struct RunOutcome {
  std::int64_t first_step = 0;               // done before
  std::int64_t step = 0;                     // done in all
  StopReason stopped_by = StopReason::none;  // none: all steps were done
};

// How a run begins.
struct RunStart {
  // Data, data.tokenizer and the tokenizer of train.init_from may be different ones, as where two
  // files hold the same tokenizer.
  bool accept_other_tokenizer = false;
};

// Where a run goes on.
struct ResumePoint {
  std::optional<std::int64_t> step;  // nothing: the newest healthy checkpoint
  // The samples of so many of the steps to come are left out, such as bad ones.
  std::int64_t skip_steps = 0;
  // The data may be other than the checkpoint was trained with. The run goes on at the same number
  // of samples: those that were taken of a source count as taken of the new one, whose order is its
  // own, so text may come twice in a pass, or not until the next.
  bool accept_changed_data = false;
};

class Trainer {
 public:
  // `config` must have passed its checks; `world` must outlive the trainer. Throws what Run throws;
  // the model is allocated by begin or resume. Collective, as is everything below.
  Trainer(const RunConfig& config, Communicator& world);

  // A new run: parameters by their initialisers, or from train.init_from. Throws ConfigError if the
  // run folder already holds checkpoints, or another process has it. From here on it is this one's,
  // until the trainer is gone.
  void begin(const RunStart& start = {});
  // Goes on from a checkpoint of the run folder, written at any world size. Newer ones than the
  // step that was asked for are marked as unhealthy: the run has left their way. ConfigError that
  // names source and difference if the data is not what the checkpoint was trained with; new and
  // missing sources are told in the log.
  void resume(const ResumePoint& point = {});

  // Trains until train.steps, or until asked to stop; then saves. Throws Error when the run cannot
  // go on, which says from where and how it can; the last healthy checkpoint is there then.
  RunOutcome run(const StopRequest& stop);

  // For tests, once begun or resumed.
  const RunState& state() const { return progress_.state; }
  const GrowthState& growth() const { return progress_.growth; }
  const ParameterStore& parameters() const { return progress_.model->parameters; }
  const StepResult& last_step() const { return progress_.last.result; }
  const Optimizer& optimizer() const { return progress_.model->optimizer; }
  const Arena& scratch() const { return run_.arena(); }

 private:
  void train_one_step();
  void after_step();
  [[noreturn]] void end_for(const UnreadableData& data);
  [[noreturn]] void end_without_targets();

  Run run_;
  RunProgress progress_;
  StepSamples samples_;
  RunSaver saver_;
  Reporter reporter_;
  GrowthStages stages_;
  std::int64_t steps_without_targets_ = 0;  // in a row
};

}  // namespace gda
