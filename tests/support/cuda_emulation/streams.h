// The emulated device's queues of work. Nothing is done when it is put there: it is done when
// somebody waits for it, so that a wait that is missing shows. The device's memory can be touched
// only meanwhile.
#pragma once

#include <functional>
#include <mutex>

#include "gda/core/device.h"

namespace gda::emulation {

void enqueue(const Stream& stream, std::function<void()> work);
// Work that does not end by itself: it is tried again until it says true.
void enqueue_until(const Stream& stream, std::function<bool()> work);

// Whether all bytes are the device's memory.
bool is_device_memory(const void* data, std::size_t bytes);

// Threads take turns. Held by whoever looks at the device, for a moment.
std::unique_lock<std::recursive_mutex> lock_device();

}  // namespace gda::emulation
