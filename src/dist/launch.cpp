#include "dist/launch.h"

#include <array>
#include <cstdlib>

#include "gda/core/error.h"

namespace gda::dist {
namespace {

// Set in every process by Open MPI's mpirun, by PMIx launchers (srun --mpi=pmix, prterun) and by
// PMI-1 and PMI-2 launchers (srun --mpi=pmi2, Hydra).
constexpr std::array kLauncherVariables = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"};

}  // namespace

bool launched_by_mpi(const Environment& environment) {
  for (const char* name : kLauncherVariables) {
    if (environment(name) != nullptr) return true;
  }
  // Only srun sets this one; a batch script or a shell inside an allocation does not have it.
  const char* tasks = environment("SLURM_STEP_NUM_TASKS");
  require<ConfigError>(tasks == nullptr || std::strtol(tasks, nullptr, 10) <= 1,
                       "srun started {} tasks but no MPI: each would run alone and write the same "
                       "files; start them with srun --mpi=pmix (srun --mpi=list shows what there "
                       "is) or with mpirun",
                       tasks == nullptr ? "" : tasks);
  return false;
}

}  // namespace gda::dist
