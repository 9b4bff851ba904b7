#include "check.h"
#include "core/device_memory.h"
#include "gda/core/error.h"

namespace gda::cuda {
namespace {

// Work of this thread goes to the device.
void use(int device) {
  check(cudaSetDevice(device), "cudaSetDevice", "memory");
}

}  // namespace

int device_count() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess) return count;
  cudaGetLastError();  // it is not of the next call
  const bool none = status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver;
  if (!none) check(status, "cudaGetDeviceCount", "device_count");
  return 0;
}

void* allocate(std::size_t bytes, int device, bool shared) {
  use(device);
  void* data = nullptr;
  const cudaError_t status = shared ? cudaMallocManaged(&data, bytes) : cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it is not of the next call
    std::size_t free = 0;
    std::size_t total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo", "memory");
    fail<Error>("cuda:{} is out of memory: {} MiB were asked for, {} of {} MiB are free", device,
                bytes >> 20, free >> 20, total >> 20);
  }
  check(status, shared ? "cudaMallocManaged" : "cudaMalloc", "memory");
  check(cudaMemset(data, 0, bytes), "cudaMemset", "memory");
  // Streams that do not wait for the default one must find zeros, too.
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize", "memory");
  return data;
}

void release(void* data, int device) noexcept {
  if (data == nullptr) return;
  // Nothing can be done about a failure here; the next call reports it.
  if (cudaSetDevice(device) == cudaSuccess) cudaFree(data);
}

void copy(const Stream& stream, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  check(
      cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream.handle)),
      "cudaMemcpyAsync", "copy");
}

void synchronize(const Stream& stream) {
  check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream.handle)), "cudaStreamSynchronize",
        "synchronize");
}

}  // namespace gda::cuda
