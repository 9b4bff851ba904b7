// Devices (the CPU and CUDA GPUs), their properties, and streams.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gda {

enum class DeviceType : std::uint8_t { cpu, cuda };

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;

  bool operator==(const Device&) const = default;
  // "cpu", "cuda:0".
  std::string str() const;
};

// Properties that a GPU reports.
struct DeviceFacts {
  std::string name;  // "NVIDIA H100 80GB HBM3"
  std::string uuid;  // the same for every process that uses it: 32 hexadecimal digits
  std::size_t memory_bytes = 0;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
};

// "CUDA 13.0, driver for 13.0"; how this build came to have none.
std::string cuda_versions();
// GPUs that this process can use: none without a driver, or in a build without CUDA.
int cuda_device_count();
DeviceFacts facts_of(Device device);

// An ordered queue of work on a device; stream.h makes them. On the CPU work is done before the
// call returns and `handle` is null; on CUDA `handle` is a cudaStream_t.
struct Stream {
  Device device;
  void* handle = nullptr;
};

}  // namespace gda
