#include "cli/run_training.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/dist/communicator.h"
#include "gda/train/readable.h"
#include "gda/train/trainer.h"

namespace gda::cli {
namespace {

// Processes on one machine share its cores evenly, unless the launcher has bound them to cores or
// the user has said how many threads to use.
void share_cores() {
  const char* local_ranks = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  if (std::getenv("OMP_NUM_THREADS") != nullptr || local_ranks == nullptr) return;
  const int cores = omp_get_num_procs();
  const bool bound = cores < static_cast<int>(std::thread::hardware_concurrency());
  if (!bound) omp_set_num_threads(std::max(1, cores / std::max(1, std::atoi(local_ranks))));
}

std::optional<double> time_limit(const RunConfig& config) {
  if (config.train.max_minutes <= 0) return std::nullopt;
  return config.train.max_minutes;
}

void tell_ending(const RunConfig& config, const RunOutcome& outcome, double seconds) {
  const std::string& folder = config.logging.dir;
  if (outcome.stopped_by == StopReason::none) {
    log::info(
        "done: {} steps in {}; the checkpoint is in {}/checkpoints. Go on with: gda resume "
        "{} train.steps={}",
        outcome.step, readable_duration(seconds), folder, folder, 2 * outcome.step);
  } else {
    log::info("stopped by {} after step {} of {}; saved. Go on with: gda resume {}",
              describe(outcome.stopped_by), outcome.step, config.train.steps, folder);
  }
}

int run_ranks(const std::function<RunConfig(std::int64_t ranks)>& load, RunStart start) {
  const MpiSession session;
  const auto timeout = std::chrono::seconds(load(1).parallel.timeout_seconds);
  const auto world = session.world(timeout);
  log::set_rank(world->rank(), world->size());
  share_cores();
  const RunConfig config = load(world->size());
  const StopRequest stop(time_limit(config));
  const auto begin = std::chrono::steady_clock::now();
  Trainer trainer(config, *world);
  if (start == RunStart::begin) {
    trainer.begin();
  } else {
    trainer.resume();
  }
  const RunOutcome outcome = trainer.run(stop);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  tell_ending(config, outcome, elapsed.count());
  return 0;
}

// Most errors are the same on every rank; rank 0 tells them first. An error of another rank alone
// is told a moment later, and ends the others, which cannot know of it.
[[noreturn]] void end_all_ranks(const std::string& message, int exit_code) {
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  if (rank != nullptr && std::atoi(rank) != 0) {
    std::this_thread::sleep_for(std::chrono::seconds(2));
  }
  log::error("gda: error: {}", message);
  MpiSession::abort(exit_code);
}

}  // namespace

int run_training(const std::function<RunConfig(std::int64_t ranks)>& load, RunStart start) {
  try {
    return run_ranks(load, start);
  } catch (const Error& error) {
    end_all_ranks(error.what(), error.exit_code());
  } catch (const std::bad_alloc&) {
    end_all_ranks(
        "out of memory; a smaller train.micro_batch_size or train.recompute: full needs "
        "less",
        1);
  } catch (const std::exception& error) {
    end_all_ranks(error.what(), 1);
  }
}

}  // namespace gda::cli
