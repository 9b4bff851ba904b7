// The groups of the processes that mpirun or srun started.
#pragma once

#include <chrono>
#include <memory>

#include "dist/mpi_thread.h"
#include "dist/transfers.h"
#include "gda/dist/communicator.h"

namespace gda::dist {

// All of them.
std::unique_ptr<Communicator> make_mpi_communicator(const std::shared_ptr<MpiThread>& thread,
                                                    std::chrono::seconds timeout,
                                                    const TransferPolicy& policy);

}  // namespace gda::dist
