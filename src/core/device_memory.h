// Memory of devices other than the host, for gda/core/memory.h: kernels/cuda/memory.cu, or
// kernels/missing/memory.cpp, which throws.
#pragma once

#include <cstddef>

#include "gda/core/device.h"

namespace gda::cuda {

// Devices that this process can use: 0 without a GPU or its driver.
int device_count();

// Zeroed. `shared`: the host may read and write it too, while no work is under way.
void* allocate(std::size_t bytes, int device, bool shared = false);
void release(void* data, int device) noexcept;

// Between any two places, in the order of the stream. To or from pageable memory of the host it may
// wait for the stream.
void copy(const Stream& stream, void* to, const void* from, std::size_t bytes);

// Waits until the stream is empty.
void synchronize(const Stream& stream);

}  // namespace gda::cuda
