#include "gda/core/device.h"

#include <fmt/format.h>

namespace gda {

std::string Device::str() const {
  return type == DeviceType::cpu ? "cpu" : fmt::format("cuda:{}", index);
}

}  // namespace gda
