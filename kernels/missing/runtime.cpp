#include "core/device_runtime.h"
#include "gda/core/error.h"

namespace gda::cuda {
namespace {

[[noreturn]] void fail_without_cuda(const char* what, int device) {
  fail<OpError>("[{}] there is no cuda:{}: this build has no CUDA backend (GDA_CUDA=OFF)", what,
                device);
}

}  // namespace

std::string versions() {
  return "none (configured with GDA_CUDA=OFF)";
}

int device_count() {
  return 0;
}

DeviceFacts facts_of(int device) {
  fail_without_cuda("facts_of", device);
}

void use_device(int device) {
  fail_without_cuda("use_device", device);
}

std::size_t free_bytes(int device) {
  fail_without_cuda("free_bytes", device);
}

void* allocate(std::size_t /*bytes*/, int device, bool /*shared*/) {
  fail_without_cuda("buffer", device);
}

// Nothing was allocated.
void release(void* /*data*/, int /*device*/) noexcept {}

void* allocate_pinned(std::size_t /*bytes*/, int device) {
  fail_without_cuda("pinned memory", device);
}

void release_pinned(void* /*data*/) noexcept {}

void* create_stream(int device, bool /*urgent*/) {
  fail_without_cuda("stream", device);
}

void destroy_stream(void* /*stream*/, int /*device*/) noexcept {}

void copy(const Stream& stream, void* /*to*/, const void* /*from*/, std::size_t /*bytes*/) {
  fail_without_cuda("copy", stream.device.index);
}

void synchronize(const Stream& stream) {
  fail_without_cuda("synchronize", stream.device.index);
}

void* create_event(int device) {
  fail_without_cuda("event", device);
}

void destroy_event(void* /*event*/, int /*device*/) noexcept {}

void record(void* /*event*/, const Stream& stream) {
  fail_without_cuda("event", stream.device.index);
}

void stream_wait(const Stream& stream, void* /*event*/) {
  fail_without_cuda("event", stream.device.index);
}

bool reached(void* /*event*/, int device) {
  fail_without_cuda("event", device);
}

void wait_for(void* /*event*/, int device) {
  fail_without_cuda("event", device);
}

double seconds_between(void* /*first*/, void* /*second*/, int device) {
  fail_without_cuda("event", device);
}

void begin_capture(const Stream& stream) {
  fail_without_cuda("graph", stream.device.index);
}

void* end_capture(const Stream& stream) {
  fail_without_cuda("graph", stream.device.index);
}

bool is_capturing(const Stream& stream) {
  fail_without_cuda("graph", stream.device.index);
}

void abandon_capture(const Stream& /*stream*/) noexcept {}

void launch_graph(void* /*graph*/, const Stream& stream) {
  fail_without_cuda("graph", stream.device.index);
}

void destroy_graph(void* /*graph*/) noexcept {}

// No profiler asks.
void push_range(const char* /*name*/) {}
void pop_range() {}

}  // namespace gda::cuda
