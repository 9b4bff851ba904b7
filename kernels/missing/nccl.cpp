#include "dist/nccl.h"

#include "gda/core/error.h"

namespace gda::cuda {

bool nccl_is_available() {
  return false;
}

std::string nccl_version() {
  return {};
}

std::unique_ptr<Communicator> make_nccl_communicator(const std::shared_ptr<Communicator>& /*host*/,
                                                     const Stream& /*compute*/,
                                                     std::chrono::milliseconds /*timeout*/) {
  fail<ConfigError>(
      "parallel.backend: nccl: this build has no NCCL (configured with GDA_CUDA=OFF or "
      "GDA_NCCL=OFF); use mpi, or build with it");
}

}  // namespace gda::cuda
