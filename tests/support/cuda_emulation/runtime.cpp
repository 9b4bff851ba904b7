// The runtime of the emulated device: its memory, streams and events.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "core/device_runtime.h"
#include "device_memory.h"
#include "execution.cuh"
#include "gda/core/error.h"
#include "streams.h"

namespace gda::emulation {
namespace {

using Clock = std::chrono::steady_clock;

// True when it is done.
using Work = std::function<bool()>;

struct Graph {
  std::vector<Work> work;
};

// A wait lets others have the device in between.
constexpr std::chrono::microseconds kPause{20};

struct Queue {
  std::deque<Work> work;
  std::unique_ptr<Graph> capture;  // what is put here goes there
  bool urgent = false;
  bool advancing = false;

  void put(Work next) {
    if (capture) {
      capture->work.push_back(std::move(next));
    } else {
      work.push_back(std::move(next));
    }
  }

  // Does what comes next, if it can be done now. Two queues that wait for each other cannot.
  bool advance() {
    if (work.empty() || advancing) return false;
    const Running running;
    advancing = true;
    try {
      const bool done = work.front()();
      if (done) work.pop_front();
      advancing = false;
      return done;
    } catch (...) {
      work.clear();  // as after a failure on a GPU
      advancing = false;
      throw;
    }
  }
  // At every other wait the urgent queues run ahead, as a GPU's may: what they do not wait for is
  // not there yet, and in between what does not wait for them finds nothing done.
  static void advance_urgent();
  // Or until the queue is empty.
  template <class Done>
  void advance_until(const Done& done) {
    while (true) {
      {
        const auto lock = lock_device();
        if (done() || work.empty()) return;
        const Running running;
        advance_urgent();
        while (!done() && advance()) {
        }
        if (done()) return;
      }
      std::this_thread::sleep_for(kPause);
    }
  }
  void run_all() {
    require<Error>(!capture, "the emulated device: a stream is waited for while it is captured");
    advance_until([] { return false; });
  }
};

// Streams that were not made are one: the default stream.
Queue default_queue;
std::vector<Queue*>& made_queues() {
  static std::vector<Queue*> all;
  return all;
}

void Queue::advance_urgent() {
  static bool ahead = false;
  ahead = !ahead;
  if (!ahead) return;
  for (Queue* queue : made_queues()) {
    while (queue->urgent && queue->advance()) {
    }
  }
}

Queue& queue_of(const Stream& stream) {
  return stream.handle == nullptr ? default_queue : *static_cast<Queue*>(stream.handle);
}

// The place of an event in a queue, once for each time that it is recorded.
struct Recording {
  Queue* queue = nullptr;
  bool captured = false;
  bool reached = false;
  Clock::time_point time;

  // Of a queue that waits for this one.
  bool try_to_reach() {
    while (!reached && queue->advance()) {
    }
    return reached;
  }
};

struct Event {
  std::shared_ptr<Recording> last;
};

// What a thread of a real device's process has to choose, or gets the first one.
thread_local int chosen_device = -1;

// Captures that this thread has begun.
thread_local int captures = 0;

// Null if it was never recorded.
Recording* recording_of(void* event) {
  Recording* const last = static_cast<Event*>(event)->last.get();
  require<Error>(last == nullptr || !last->captured,
                 "the emulated device: an event of a capture is waited for or asked");
  return last;
}

// cudaFree waits for the device, too.
void release(void* data) {
  default_queue.run_all();
  for (Queue* queue : made_queues()) queue->run_all();
  release_memory(data);
}

}  // namespace

void enqueue(const Stream& stream, std::function<void()> work) {
  enqueue_until(stream, [work = std::move(work)] {
    work();
    return true;
  });
}

void check_device_is_chosen() {
  require<Error>(chosen_device >= 0, "the emulated device: this thread has not chosen its device");
}

void enqueue_until(const Stream& stream, std::function<bool()> work) {
  check_device_is_chosen();
  const auto lock = lock_device();
  queue_of(stream).put(std::move(work));
}

}  // namespace gda::emulation

namespace gda::cuda {

using namespace emulation;

namespace {

// Tests of running out of memory find the end of this device sooner than of another.
constexpr std::size_t kMemoryBytes = std::size_t{2} << 30;

void check_takes_memory() {
  require<Error>(captures == 0, "the emulated device: memory is taken while a stream is captured");
}

}  // namespace

std::string versions() {
  return "emulated";
}

// One, or as many as are asked for: a rank each.
int device_count() {
  const char* const count = std::getenv("GDA_EMULATION_DEVICES");
  return count == nullptr ? 1 : std::stoi(count);
}

DeviceFacts facts_of(int device) {
  // As if it were another: its name, and an H200's multiprocessors.
  const char* const name = std::getenv("GDA_EMULATION_NAME");
  return {.name = name == nullptr ? "emulated" : name,
          .uuid = fmt::format("{:032}", device),
          .memory_bytes = kMemoryBytes,
          // With the shared memory of Hopper, one.
          .major = cuda::shared_memory_limit() < (std::size_t{227} << 10) ? 8 : 9,
          .minor = 0,
          .multiprocessors = name == nullptr ? 1 : 132};
}

void use_device(int device) {
  chosen_device = device;
}

std::size_t free_bytes(int device) {
  use_device(device);
  return kMemoryBytes - held_bytes();
}

void* allocate(std::size_t bytes, int device, bool shared) {
  if (bytes > free_bytes(device)) return nullptr;
  check_takes_memory();
  return allocate_memory(bytes, shared ? Kind::shared : Kind::device);
}

void release(void* data, int device) noexcept {
  use_device(device);
  emulation::release(data);
}

void* allocate_pinned(std::size_t bytes, int device) {
  use_device(device);
  check_takes_memory();
  return allocate_memory(bytes, Kind::pinned);
}

void release_pinned(void* data) noexcept {
  emulation::release(data);
}

void* create_stream(int device, bool urgent) {
  use_device(device);
  const auto lock = lock_device();
  Queue* queue = made_queues().emplace_back(new Queue);
  queue->urgent = urgent;
  return queue;
}

void destroy_stream(void* stream, int device) noexcept {
  use_device(device);
  auto* queue = static_cast<Queue*>(stream);
  queue->run_all();
  const auto lock = lock_device();
  std::erase(made_queues(), queue);
  delete queue;
}

void copy(const Stream& stream, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  use_device(stream.device.index);
  require<Error>(!queue_of(stream).capture || !(is_pageable(from) || is_pageable(to)),
                 "the emulated device: pageable memory is copied while a stream is captured");
  enqueue(stream, [to, from, bytes] { std::memmove(to, from, bytes); });
}

void synchronize(const Stream& stream) {
  use_device(stream.device.index);
  queue_of(stream).run_all();
}

void* create_event(int device) {
  use_device(device);
  return new Event;
}

void destroy_event(void* event, int device) noexcept {
  use_device(device);
  delete static_cast<Event*>(event);
}

void record(void* event, const Stream& stream) {
  use_device(stream.device.index);
  const auto lock = lock_device();
  auto recording = std::make_shared<Recording>();
  recording->queue = &queue_of(stream);
  recording->captured = is_capturing(stream);
  static_cast<Event*>(event)->last = recording;
  enqueue(stream, [recording] {
    recording->reached = true;
    recording->time = Clock::now();
  });
}

void stream_wait(const Stream& stream, void* event) {
  use_device(stream.device.index);
  const auto lock = lock_device();
  if (const auto recording = static_cast<Event*>(event)->last) {
    enqueue_until(stream, [recording] { return recording->try_to_reach(); });
  }
}

bool reached(void* event, int device) {
  use_device(device);
  const auto lock = lock_device();
  Recording* recording = recording_of(event);
  if (recording == nullptr || recording->reached) return true;
  recording->queue->advance();  // time passes while somebody asks
  return recording->reached;
}

void wait_for(void* event, int device) {
  use_device(device);
  if (Recording* recording = recording_of(event)) {
    recording->queue->advance_until([&] { return recording->reached; });
  }
}

double seconds_between(void* first, void* second, int device) {
  use_device(device);
  return std::chrono::duration<double>(recording_of(second)->time - recording_of(first)->time)
      .count();
}

void begin_capture(const Stream& stream) {
  use_device(stream.device.index);
  queue_of(stream).capture = std::make_unique<Graph>();
  ++captures;
}

void* end_capture(const Stream& stream) {
  auto graph = std::exchange(queue_of(stream).capture, nullptr);
  --captures;
  require<DeviceError>(std::getenv("GDA_EMULATION_FAILS_CAPTURES") == nullptr,
                       "the emulated device: a capture failed, as it was told to");
  return graph.release();
}

bool is_capturing(const Stream& stream) {
  return queue_of(stream).capture != nullptr;
}

void abandon_capture(const Stream& stream) noexcept {
  queue_of(stream).capture.reset();
  --captures;
}

void launch_graph(void* graph, const Stream& stream) {
  use_device(stream.device.index);
  for (const Work& work : static_cast<Graph*>(graph)->work) queue_of(stream).put(work);
}

void destroy_graph(void* graph) noexcept {
  delete static_cast<Graph*>(graph);
}

void push_range(const char* /*name*/) {}
void pop_range() {}

}  // namespace gda::cuda
