// Queues of work on a device, places in them, and data on its way between devices and the host.
//
// The host only puts work on a stream and goes on; what it wants to read it must wait for. On the
// CPU there is nothing to wait for, and everything here is done at once.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "gda/core/memory.h"

namespace gda {

enum class StreamPriority { normal, high };

// A stream of its own; by default the CPU's. Work of high priority that is ready goes first.
class OwnedStream {
 public:
  OwnedStream() = default;
  explicit OwnedStream(Device device, StreamPriority priority = StreamPriority::normal);
  ~OwnedStream();
  OwnedStream(OwnedStream&& other) noexcept;
  OwnedStream& operator=(OwnedStream&& other) noexcept;
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;

  const Stream& get() const { return stream_; }

 private:
  Stream stream_;
};

// A place in a stream. Not recorded yet it counts as reached.
class Event {
 public:
  explicit Event(Device device = {});
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  // The place after all that was put on the stream so far.
  void record(const Stream& stream);
  // What is put on the stream from now on begins after this place was reached.
  void stream_wait(const Stream& stream) const;
  bool reached() const;
  void wait() const;
  // Time between two places that were reached, as the device measured it; 0 on the CPU.
  double seconds_until(const Event& later) const;

 private:
  Device device_;
  void* handle_ = nullptr;
};

// Work of a GPU that is put on a stream again and again, on the same memory: launched as one piece
// (a CUDA graph), which spares the host the launching of each kernel.
class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(Graph&& other) noexcept;
  Graph& operator=(Graph&& other) noexcept;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Keeps what `work` puts on the stream, and does none of it. It may not copy from or to the host,
  // wait, or take memory; kernels must have run once before. After a failure, of which it throws
  // what `work` threw or DeviceError, the graph is empty and the stream can be used.
  void record(const Stream& stream, const std::function<void()>& work);
  bool empty() const { return handle_ == nullptr; }
  void launch(const Stream& stream) const;

 private:
  void* handle_ = nullptr;
};

// Waits until all that was put on the stream is done.
void synchronize(const Stream& stream);

// to = from, in the order of the stream. Contiguous, of one type, with as many elements, on any
// devices. On return memory of the host has been read or written.
void copy(const Stream& stream, const Tensor& from, const Tensor& to);

// A copy in memory of the host; on the CPU the tensor itself. The host may read it on return.
class HostCopy {
 public:
  HostCopy(const Stream& stream, const Tensor& tensor);
  const Tensor& tensor() const { return tensor_; }
  // Element i of an f32 or f64 tensor.
  double operator[](std::int64_t i) const;

 private:
  OwnedTensor memory_;
  Tensor tensor_;
};

// Calls fill with a tensor of the host like `to`, which then goes to `to`; on the CPU with `to`.
void fill_from_host(const Stream& stream, const Tensor& to,
                    const std::function<void(const Tensor&)>& fill);

// Hands the bytes of a contiguous tensor to the sink, in order. Those of a device come piece by
// piece through pinned memory, the next one on its way while the sink has one.
void read_bytes(const Stream& stream, const Tensor& tensor,
                const std::function<void(std::span<const std::byte>)>& sink);

// A name for what this thread does until the end of the scope, as profilers show it (NVTX).
class ProfileRange {
 public:
  explicit ProfileRange(const char* name);
  ~ProfileRange();
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;
};

}  // namespace gda
