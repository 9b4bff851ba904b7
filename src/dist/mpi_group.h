// A group of processes as MPI knows it, and how one is cut into several.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dist/collectives.h"

namespace gda::dist {

// Has an MPI communicator of its own, so that operations of two groups never meet, even if ranks
// call them in different orders: they then wait until the timeout. Lives until MPI is finalised.
struct MpiGroup {
  std::string name;  // empty: all processes
  Group place;
  MPI_Comm comm = MPI_COMM_NULL;
  std::vector<int> world_ranks;  // the number of each rank among all processes

  // How many operations of each kind there were.
  std::int64_t collectives = 0;
  std::int64_t messages = 0;
};

// All processes. MPI is up.
std::shared_ptr<MpiGroup> make_world_group();

// Fills `result` with the ranks of `whole` of the same colour, in their order there.
std::unique_ptr<Operation> make_split(std::shared_ptr<const MpiGroup> whole, int colour,
                                      std::shared_ptr<MpiGroup> result);

}  // namespace gda::dist
