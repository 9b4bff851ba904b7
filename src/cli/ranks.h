// Running a command on every process that mpirun started.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "gda/dist/communicator.h"

namespace gda::cli {

// Starts MPI where mpirun or srun did, shares this machine's cores between its processes and runs
// `command` on each. An error is told once and ends all of them. `timeout` is asked for before the
// group is made; `out_of_memory` says what would need less.
int run_on_all_ranks(const std::function<std::chrono::seconds()>& timeout,
                     const std::string& out_of_memory,
                     const std::function<int(Communicator& world)>& command);

}  // namespace gda::cli
