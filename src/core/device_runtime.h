// Interface to devices other than the host, for gda/core. kernels/cuda/runtime.cu implements it, or
// kernels/missing/runtime.cpp, which has none and throws.
#pragma once

#include <cstddef>
#include <string>

#include "gda/core/device.h"

namespace gda::cuda {

// "CUDA 13.0, driver for 13.0"; how this build came to have none.
std::string versions();
// Devices that this process can use: 0 without a GPU or its driver. DeviceError where the driver is
// too old: that is no reason to compute on the host unasked.
int device_count();
DeviceFacts facts_of(int device);
// This thread's calls of CUDA's own and of its libraries go to the device. A thread that launches
// kernels or calls a library has to choose before: else it opens a context on the first device,
// which takes half a GiB. The functions below choose the device that they are given.
void use_device(int device);
// Bytes that could be allocated now, by any process.
std::size_t free_bytes(int device);

// Zeroed. Null if there is not as much. `shared`: the host may read and write it too, while no work
// is under way.
void* allocate(std::size_t bytes, int device, bool shared = false);
void release(void* data, int device) noexcept;
// Memory of the host that devices reach without a copy in between. Null if there is not as much.
void* allocate_pinned(std::size_t bytes, int device);
void release_pinned(void* data) noexcept;

// A queue that waits for no other; what is in an urgent one goes first.
void* create_stream(int device, bool urgent);
void destroy_stream(void* stream, int device) noexcept;

// Between any two places, in the order of the stream. May return at once whatever memory of the
// host it is: that has to stay, and to be left alone, until the copy was waited for.
void copy(const Stream& stream, void* to, const void* from, std::size_t bytes);
// Waits until the stream is empty.
void synchronize(const Stream& stream);

// Places in streams. One that was never recorded is reached.
void* create_event(int device);
void destroy_event(void* event, int device) noexcept;
void record(void* event, const Stream& stream);
// Work that comes to the stream from now on begins after the event.
void stream_wait(const Stream& stream, void* event);
bool reached(void* event, int device);
void wait_for(void* event, int device);
// Of two events that were reached.
double seconds_between(void* first, void* second, int device);

// Work that is put on the stream in between is kept instead of done; it may not involve pageable
// memory of the host, nor wait, nor may this thread take memory. The result can be put on a stream
// as one piece of work. After a failure of end_capture the stream can be used again.
void begin_capture(const Stream& stream);
void* end_capture(const Stream& stream);
bool is_capturing(const Stream& stream);
// Instead of end_capture, where something failed in between.
void abandon_capture(const Stream& stream) noexcept;
void launch_graph(void* graph, const Stream& stream);
void destroy_graph(void* graph) noexcept;

// Names what this thread does from now on, for profilers; ranges nest.
void push_range(const char* name);
void pop_range();

}  // namespace gda::cuda
