#include "gda/dist/versions.h"

#include <mpi.h>

#include <array>

#include "dist/nccl.h"

namespace gda {

std::string mpi_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);  // may be asked before MPI begins
  const std::string whole(text.data());
  // The rest is of whom it was built by.
  return whole.substr(0, whole.find_first_of(",\n"));
}

std::string nccl_version() {
  return cuda::nccl_version();
}

}  // namespace gda
