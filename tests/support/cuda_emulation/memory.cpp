// Device memory of the emulated device: the host's.
#include <cstdlib>
#include <cstring>

#include "core/device_memory.h"
#include "gda/core/error.h"

namespace gda::cuda {

int device_count() {
  return 1;
}

void* allocate(std::size_t bytes, int /*device*/, bool /*shared*/) {
  constexpr std::size_t kAlignment = 256;  // cudaMalloc's
  void* data = std::aligned_alloc(kAlignment, (bytes / kAlignment + 1) * kAlignment);
  require<Error>(data != nullptr, "the emulated device is out of memory: {} bytes", bytes);
  std::memset(data, 0, bytes);
  return data;
}

void release(void* data, int /*device*/) noexcept {
  std::free(data);
}

void copy(const Stream& /*stream*/, void* to, const void* from, std::size_t bytes) {
  std::memcpy(to, from, bytes);
}

void synchronize(const Stream& /*stream*/) {}

}  // namespace gda::cuda
