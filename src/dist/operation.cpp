#include "dist/operation.h"

#include <fmt/format.h>

namespace gda {

std::string describe(const OperationInfo& info) {
  const std::string step =
      info.step < 0 ? "before the first step" : fmt::format("step {}", info.step);
  return fmt::format("{} ({} bytes, operation {}, {})", info.what, info.bytes, info.number, step);
}

}  // namespace gda
