#include "cli/run_training.h"

#include <chrono>
#include <string>

#include "cli/ranks.h"
#include "gda/checkpoint/run_folder.h"
#include "gda/core/log.h"
#include "gda/core/shell.h"
#include "gda/report/readable.h"
#include "gda/train/longer_run.h"

namespace gda::cli {
namespace {

void tell_ending(const RunConfig& config, const RunOutcome& outcome, double seconds) {
  const std::string& folder = config.run_dir;
  const std::string run = shell_word(folder);
  if (outcome.stopped_by == StopReason::none && outcome.step == outcome.first_step) {
    log::info("nothing to do: {} is at step {} of {}. Train on with: gda resume {} {}", folder,
              outcome.step, config.train.steps, run, settings_to_train_on(config, outcome.step));
  } else if (outcome.stopped_by == StopReason::none) {
    log::info(
        "done: step {}, {} of them in {}; the checkpoint is in {}. Resume with: gda "
        "resume {} {}",
        outcome.step, outcome.step - outcome.first_step, readable_duration(seconds),
        RunFolder(folder).checkpoints().string(), run, settings_to_train_on(config, outcome.step));
  } else {
    log::info("stopped by {} after step {} of {}; saved. Resume with: gda resume {}",
              describe(outcome.stopped_by), outcome.step, config.train.steps, run);
  }
}

}  // namespace

int run_training(const std::function<RunConfig(std::int64_t ranks)>& load,
                 const std::variant<RunStart, ResumePoint>& from) {
  const auto timeout = [&] { return std::chrono::seconds(load(0).parallel.timeout_seconds); };
  const std::string out_of_memory =
      "a smaller train.micro_batch_size or train.max_logit_mib, train.recompute: selective or "
      "full, and more ranks (they share the optimizer's state) need less";
  StopRequest stop;  // before MPI: a signal may come early
  return run_on_all_ranks(timeout, out_of_memory, [&](Communicator& world) {
    const RunConfig config = load(world.size());
    if (config.train.max_minutes > 0) stop.set_time_limit(config.train.max_minutes);
    const auto begin = std::chrono::steady_clock::now();
    Trainer trainer(config, world);
    if (const auto* point = std::get_if<ResumePoint>(&from)) {
      trainer.resume(*point);
    } else {
      trainer.begin(std::get<RunStart>(from));
    }
    const RunOutcome outcome = trainer.run(stop);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    tell_ending(config, outcome, elapsed.count());
    return 0;
  });
}

}  // namespace gda::cli
