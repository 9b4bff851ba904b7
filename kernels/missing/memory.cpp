#include "core/device_memory.h"
#include "gda/core/error.h"

namespace gda::cuda {
namespace {

[[noreturn]] void fail_without_cuda(const char* what, int device) {
  fail<OpError>("[{}] no memory on cuda:{}: this build has no CUDA backend (GDA_CUDA=OFF)", what,
                device);
}

}  // namespace

int device_count() {
  return 0;
}

void* allocate(std::size_t /*bytes*/, int device, bool /*shared*/) {
  fail_without_cuda("buffer", device);
}

// Nothing was allocated.
void release(void* /*data*/, int /*device*/) noexcept {}

void copy(const Stream& stream, void* /*to*/, const void* /*from*/, std::size_t /*bytes*/) {
  fail_without_cuda("copy", stream.device.index);
}

void synchronize(const Stream& stream) {
  fail_without_cuda("synchronize", stream.device.index);
}

}  // namespace gda::cuda
