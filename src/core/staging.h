// Pinned memory of the host that data passes on its way to a device and back, one of each a device.
// Whether a copy from or to pageable memory waits for the device, or is done on return, no version
// of CUDA promises; with pinned memory it neither waits nor is done.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "gda/core/device.h"

namespace gda::internal {

// Puts a copy to the device on the stream. On return `from` has been read; the host has waited only
// if more was under way than there is room for.
void upload(const Stream& stream, std::span<const std::byte> from, std::byte* to);

// Hands the bytes of a device to the sink piece by piece, the next one on its way while the sink
// has one.
void download(const Stream& stream, std::span<const std::byte> from,
              const std::function<void(std::span<const std::byte>)>& sink);

}  // namespace gda::internal
