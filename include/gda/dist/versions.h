// Versions of MPI and NCCL in use.
#pragma once

#include <string>

namespace gda {

// The MPI library: "Open MPI v4.1.4".
std::string mpi_version();
// "NCCL 2.28.3"; empty in a build without.
std::string nccl_version();

}  // namespace gda
