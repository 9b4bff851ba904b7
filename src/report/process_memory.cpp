#include "gda/report/process_memory.h"

#include <fstream>
#include <string>

namespace gda {

ProcessMemory process_memory() {
  ProcessMemory memory;
  std::ifstream status("/proc/self/status");
  std::string key;
  while (status >> key) {
    std::int64_t kibibytes = 0;
    if (key == "VmRSS:" && status >> kibibytes) memory.resident_bytes = kibibytes * 1024;
    if (key == "VmHWM:" && status >> kibibytes) memory.peak_resident_bytes = kibibytes * 1024;
    std::getline(status, key);
  }
  return memory;
}

}  // namespace gda
