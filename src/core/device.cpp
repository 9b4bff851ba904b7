#include "gda/core/device.h"

#include <fmt/format.h>

#include "core/device_runtime.h"
#include "gda/core/error.h"

namespace gda {

std::string Device::str() const {
  return type == DeviceType::cpu ? "cpu" : fmt::format("cuda:{}", index);
}

std::string cuda_versions() {
  return cuda::versions();
}

int cuda_device_count() {
  return cuda::device_count();
}

DeviceFacts facts_of(Device device) {
  require<OpError>(device.type == DeviceType::cuda, "[facts_of] {} is not a GPU", device.str());
  return cuda::facts_of(device.index);
}

}  // namespace gda
