// NCCL, for make_device_communicator: kernels/cuda/nccl.cu, or kernels/missing/nccl.cpp, which
// throws.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "gda/dist/communicator.h"

namespace gda::cuda {

bool nccl_is_available();
// "NCCL 2.28.3"; empty where it is not available.
std::string nccl_version();

// As make_device_communicator with the backend nccl.
std::unique_ptr<Communicator> make_nccl_communicator(const std::shared_ptr<Communicator>& host,
                                                     const Stream& compute,
                                                     std::chrono::milliseconds timeout);

}  // namespace gda::cuda
