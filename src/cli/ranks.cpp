#include "cli/ranks.h"

#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <thread>

#include "gda/core/environment.h"
#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/memory.h"
#include "gda/dist/device_communicator.h"

namespace gda::cli {
namespace {

// Whether OpenMP takes the number of threads from the environment: it ignores what is no number.
bool threads_are_given() {
  const char* threads = environment("OMP_NUM_THREADS");
  return threads != nullptr && std::strtol(threads, nullptr, 10) > 0;
}

// Processes on one machine share its cores evenly, unless the launcher has bound them to cores or
// the user has said how many threads to use.
void share_cores(Communicator& world) {
  const int local_ranks = place_on_host(world).ranks;
  if (threads_are_given() || local_ranks == 1) return;
  const int cores = omp_get_num_procs();
  const bool bound = cores < static_cast<int>(std::thread::hardware_concurrency());
  if (!bound) omp_set_num_threads(std::max(1, cores / local_ranks));
}

// As the launcher numbers it; MPI may not be up.
int launched_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    if (const char* rank = environment(name)) return std::atoi(rank);
  }
  return 0;
}

// Most errors are the same on every rank; rank 0 tells them first. An error of another rank alone
// is told a moment later, and ends the others, which cannot know of it.
[[noreturn]] void end_all_ranks(const std::string& message, int exit_code) {
  if (launched_rank() != 0) std::this_thread::sleep_for(std::chrono::seconds(2));
  log::error("gda: error: {}", message);
  MpiSession::abort(exit_code);
}

}  // namespace

int run_on_all_ranks(const std::function<std::chrono::seconds()>& timeout,
                     const std::string& out_of_memory,
                     const std::function<int(Communicator& world)>& command) {
  try {
    const MpiSession session;
    const auto world = session.world(timeout());
    log::set_rank(world->rank(), world->size());
    share_cores(*world);
    return command(*world);
  } catch (const OutOfMemory& error) {
    end_all_ranks(std::string(error.what()) + "; " + out_of_memory, error.exit_code());
  } catch (const Error& error) {
    end_all_ranks(error.what(), error.exit_code());
  } catch (const std::bad_alloc&) {
    end_all_ranks("out of memory; " + out_of_memory, 1);
  } catch (const std::exception& error) {
    end_all_ranks(error.what(), 1);
  }
}

}  // namespace gda::cli
