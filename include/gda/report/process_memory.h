// Memory of this process.
#pragma once

#include <cstdint>

namespace gda {

struct ProcessMemory {
  std::int64_t resident_bytes = 0;
  std::int64_t peak_resident_bytes = 0;  // since the process began
};

// As the kernel counts it; zeros where it does not tell.
ProcessMemory process_memory();

}  // namespace gda
