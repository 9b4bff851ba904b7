#include <fmt/format.h>
#include <nvtx3/nvToolsExt.h>

#include <string>

#include "check.h"
#include "core/device_runtime.h"
#include "gda/core/error.h"

namespace gda::cuda {
namespace {

cudaStream_t handle_of(const Stream& stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

cudaEvent_t event_of(void* event) {
  return static_cast<cudaEvent_t>(event);
}

// Whether there was memory; other failures throw.
bool succeeded(cudaError_t status, const char* call) {
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it is not of the next call
    return false;
  }
  check(status, call, "memory");
  return true;
}

}  // namespace

std::string versions() {
  const auto text = [](int version) {
    return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
  };
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) cudaGetLastError();
  return fmt::format("CUDA {}, {}", text(CUDART_VERSION),
                     driver == 0 ? "no driver" : "driver for " + text(driver));
}

int device_count() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess) return count;
  cudaGetLastError();  // it is not of the next call
  int driver = 0;      // of a host without one
  if (status == cudaErrorInsufficientDriver)
    check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion", "device_count");
  require<DeviceError>(
      driver == 0,
      "the NVIDIA driver is one for CUDA {}.{}, and this build needs one for {}.{} or newer",
      driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  const bool none = status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver;
  if (!none) check(status, "cudaGetDeviceCount", "device_count");
  return 0;
}

DeviceFacts facts_of(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties", "device");
  DeviceFacts facts{.name = properties.name,
                    .uuid = {},
                    .memory_bytes = properties.totalGlobalMem,
                    .major = properties.major,
                    .minor = properties.minor,
                    .multiprocessors = properties.multiProcessorCount};
  for (const char byte : properties.uuid.bytes) {
    facts.uuid += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  }
  return facts;
}

void use_device(int device) {
  check(cudaSetDevice(device), "cudaSetDevice", "device");
}

std::size_t free_bytes(int device) {
  use_device(device);
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo", "memory");
  return free;
}

void* allocate(std::size_t bytes, int device, bool shared) {
  use_device(device);
  void* data = nullptr;
  const bool there = shared ? succeeded(cudaMallocManaged(&data, bytes), "cudaMallocManaged")
                            : succeeded(cudaMalloc(&data, bytes), "cudaMalloc");
  if (!there) return nullptr;
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

void* allocate_pinned(std::size_t bytes, int device) {
  use_device(device);
  void* data = nullptr;
  return succeeded(cudaHostAlloc(&data, bytes, cudaHostAllocDefault), "cudaHostAlloc") ? data
                                                                                       : nullptr;
}

void release_pinned(void* data) noexcept {
  if (data != nullptr) cudaFreeHost(data);
}

void* create_stream(int device, bool urgent) {
  use_device(device);
  int least = 0;
  int greatest = 0;
  check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange",
        "stream");
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, urgent ? greatest : least),
        "cudaStreamCreateWithPriority", "stream");
  return stream;
}

void destroy_stream(void* stream, int device) noexcept {
  if (cudaSetDevice(device) == cudaSuccess) cudaStreamDestroy(static_cast<cudaStream_t>(stream));
}

void copy(const Stream& stream, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  use_device(stream.device.index);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, handle_of(stream)), "cudaMemcpyAsync",
        "copy");
}

void synchronize(const Stream& stream) {
  use_device(stream.device.index);
  check(cudaStreamSynchronize(handle_of(stream)), "cudaStreamSynchronize", "synchronize");
}

void* create_event(int device) {
  use_device(device);
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "cudaEventCreate", "event");
  return event;
}

void destroy_event(void* event, int device) noexcept {
  if (cudaSetDevice(device) == cudaSuccess) cudaEventDestroy(event_of(event));
}

void record(void* event, const Stream& stream) {
  use_device(stream.device.index);
  check(cudaEventRecord(event_of(event), handle_of(stream)), "cudaEventRecord", "event");
}

void stream_wait(const Stream& stream, void* event) {
  use_device(stream.device.index);
  check(cudaStreamWaitEvent(handle_of(stream), event_of(event), 0), "cudaStreamWaitEvent", "event");
}

bool reached(void* event, int device) {
  use_device(device);
  const cudaError_t status = cudaEventQuery(event_of(event));
  if (status == cudaErrorNotReady) {
    cudaGetLastError();  // it is not of the next call
    return false;
  }
  check(status, "cudaEventQuery", "event");
  return true;
}

void wait_for(void* event, int device) {
  use_device(device);
  check(cudaEventSynchronize(event_of(event)), "cudaEventSynchronize", "event");
}

double seconds_between(void* first, void* second, int device) {
  use_device(device);
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, event_of(first), event_of(second)),
        "cudaEventElapsedTime", "event");
  return static_cast<double>(milliseconds) * 1e-3;
}

void begin_capture(const Stream& stream) {
  use_device(stream.device.index);
  // Of this thread alone: another one may ask for events meanwhile.
  check(cudaStreamBeginCapture(handle_of(stream), cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCapture", "graph");
}

void* end_capture(const Stream& stream) {
  use_device(stream.device.index);
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(handle_of(stream), &graph), "cudaStreamEndCapture", "graph");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "cudaGraphInstantiate", "graph");
  return executable;
}

bool is_capturing(const Stream& stream) {
  use_device(stream.device.index);
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(handle_of(stream), &status), "cudaStreamIsCapturing", "graph");
  return status != cudaStreamCaptureStatusNone;
}

void abandon_capture(const Stream& stream) noexcept {
  // What failed is reported already, and a capture that is invalid ends with an error.
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(handle_of(stream), &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void launch_graph(void* graph, const Stream& stream) {
  use_device(stream.device.index);
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), handle_of(stream)), "cudaGraphLaunch",
        "graph");
}

void destroy_graph(void* graph) noexcept {
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
}

void push_range(const char* name) {
  nvtxRangePushA(name);
}

void pop_range() {
  nvtxRangePop();
}

}  // namespace gda::cuda
