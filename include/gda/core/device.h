// Where memory lives and work runs.
#pragma once

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

// An ordered queue of work on a device. On the CPU work is done before the call returns and
// `handle` is null; on CUDA `handle` is a cudaStream_t.
struct Stream {
  Device device;
  void* handle = nullptr;
};

}  // namespace gda
