// The emulated device's memory: pages that the host cannot touch while nothing runs, and what of
// the host's memory the device reaches.
#pragma once

#include <cstddef>
#include <mutex>

namespace gda::emulation {

enum class Kind { device, shared, pinned };

// Zeroed. Null if the host has not as much.
void* allocate_memory(std::size_t bytes, Kind kind);
void release_memory(void* data);
// Of the device's own memory.
std::size_t held_bytes();

// Whether all bytes are the device's own.
bool is_device_memory(const void* data, std::size_t bytes);
// The host's ordinary memory, which a copy cannot be left alone with.
bool is_pageable(const void* address);

// The device's memory can be touched while one of these lives.
class Running {
 public:
  Running();
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
};

// Threads take turns. Held by whoever looks at the device, for a moment.
std::unique_lock<std::recursive_mutex> lock_device();

}  // namespace gda::emulation
