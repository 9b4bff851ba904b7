// The emulated device's queues of work. Nothing is done when it is put there: it is done when
// somebody waits for it, so that a wait that is missing shows. The device's memory can be touched
// only meanwhile.
#pragma once

#include <functional>

#include "gda/core/device.h"

namespace gda::emulation {

// Throws Error where a thread touches the device before cuda::use_device or what calls it.
void check_device_is_chosen();

// By a thread that has chosen its device.
void enqueue(const Stream& stream, std::function<void()> work);
// Work that does not end by itself: it is tried again until it says true.
void enqueue_until(const Stream& stream, std::function<bool()> work);

}  // namespace gda::emulation
