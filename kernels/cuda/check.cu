#include "check.h"

#include "gda/core/error.h"

namespace gda::cuda {

void check(cudaError_t status, std::string_view call, std::string_view purpose) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // it is told here, and is not of the next launch
  int device = -1;
  cudaGetDevice(&device);
  fail<DeviceError>("[{}] {} failed on cuda:{}: {} ({})", purpose, call, device,
                    cudaGetErrorName(status), cudaGetErrorString(status));
}

}  // namespace gda::cuda
