// Errors of the CUDA runtime as exceptions.
#pragma once

#include <cuda_runtime.h>

#include <string_view>

namespace gda::cuda {

// DeviceError that names the call and what it was for, unless the status is success.
void check(cudaError_t status, std::string_view call, std::string_view purpose);

}  // namespace gda::cuda
