// Checkpointing of a run: its schedule, and the mark of healthy states.
//
// A state is saved as healthy when no update is being skipped, its weights are finite and so is the
// loss of the last samples. If every update from its weights was skipped until the guard ended the
// run, the mark is taken back: only an accepted step proves weights.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/core/output_lock.h"
#include "gda/train/run.h"
#include "gda/train/run_progress.h"
#include "gda/train/step_samples.h"

namespace gda {

// Everything here is collective.
class RunSaver {
 public:
  // Both must outlive it. `samples`: those of the step that was done last, or comes next.
  RunSaver(Run& run, const StepSamples& samples) : run_(run), samples_(samples) {}

  // ConfigError if another process has the run folder. From here on it is this one's, until the
  // saver is gone.
  void take_folder();

  // The model of progress.state.stages_done stages and everything else from a checkpoint of the
  // run.
  void restore(const CheckpointReader& reader, RunProgress& progress);

  // After each step: tells of a checkpoint that is whole by now, and saves if
  // checkpoint.every_steps says so, as soon as no update is being skipped.
  void after_step(RunProgress& progress);
  // Saves the state unless that was done, and returns when it is on the disk. IoError if it could
  // not be written.
  void save_now(RunProgress& progress);
  // Waits for the checkpoint that is being written. One that could not be is told in the log: the
  // older ones are whole.
  void finish(RunProgress& progress) { finish(progress, true, false); }

 private:
  void save(RunProgress& progress, bool wait);
  void finish(RunProgress& progress, bool wait, bool must_work);

  Run& run_;
  const StepSamples& samples_;
  std::unique_ptr<OutputLock> lock_;  // the root's
  std::int64_t saved_step_ = -1;
  bool is_due_ = false;
};

// Why a run should not go on from the state as it is, the same on every rank; empty: it may.
// `sample`: a batch of each replica that its loss is looked at with; null: it is not. Collective.
std::string fault_of_weights(Run& run, RunProgress& progress, const Batch* sample);

// Ends a run whose guard is exhausted: what it saved since its last accepted update is marked as
// unhealthy. Throws Error that says from where and how it can go on. Collective.
[[noreturn]] void end_diverged(Run& run, const RunProgress& progress);

// A mark that cannot be written is told, and changes nothing else.
void try_to_mark(const StepFolder& folder, const std::string& reason);

}  // namespace gda
