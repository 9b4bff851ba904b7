#include "gda/core/stream.h"

#include <cstring>
#include <utility>

#include "core/device_runtime.h"
#include "core/staging.h"
#include "gda/core/error.h"

namespace gda {
namespace {

bool is_cuda(Device device) {
  return device.type == DeviceType::cuda;
}

}  // namespace

OwnedStream::OwnedStream(Device device, StreamPriority priority) : stream_{.device = device} {
  if (is_cuda(device)) {
    stream_.handle = cuda::create_stream(device.index, priority == StreamPriority::high);
  }
}

OwnedStream::~OwnedStream() {
  if (stream_.handle != nullptr) cuda::destroy_stream(stream_.handle, stream_.device.index);
}

OwnedStream::OwnedStream(OwnedStream&& other) noexcept
    : stream_(std::exchange(other.stream_, {})) {}

OwnedStream& OwnedStream::operator=(OwnedStream&& other) noexcept {
  std::swap(stream_, other.stream_);
  return *this;
}

Event::Event(Device device) : device_(device) {
  if (is_cuda(device)) handle_ = cuda::create_event(device.index);
}

Event::~Event() {
  if (handle_ != nullptr) cuda::destroy_event(handle_, device_.index);
}

Event::Event(Event&& other) noexcept
    : device_(other.device_), handle_(std::exchange(other.handle_, nullptr)) {}

Event& Event::operator=(Event&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(handle_, other.handle_);
  return *this;
}

void Event::record(const Stream& stream) {
  if (handle_ != nullptr) cuda::record(handle_, stream);
}

void Event::stream_wait(const Stream& stream) const {
  if (handle_ != nullptr) cuda::stream_wait(stream, handle_);
}

bool Event::reached() const {
  return handle_ == nullptr || cuda::reached(handle_, device_.index);
}

void Event::wait() const {
  if (handle_ != nullptr) cuda::wait_for(handle_, device_.index);
}

double Event::seconds_until(const Event& later) const {
  return handle_ == nullptr ? 0 : cuda::seconds_between(handle_, later.handle_, device_.index);
}

Graph::~Graph() {
  if (handle_ != nullptr) cuda::destroy_graph(handle_);
}

Graph::Graph(Graph&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}

Graph& Graph::operator=(Graph&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}

void Graph::record(const Stream& stream, const std::function<void()>& work) {
  require<OpError>(is_cuda(stream.device), "[graph] {} has none", stream.device.str());
  if (handle_ != nullptr) cuda::destroy_graph(std::exchange(handle_, nullptr));
  cuda::begin_capture(stream);
  try {
    work();
  } catch (...) {
    cuda::abandon_capture(stream);  // the stream must be usable again
    throw;
  }
  handle_ = cuda::end_capture(stream);
}

void Graph::launch(const Stream& stream) const {
  cuda::launch_graph(handle_, stream);
}

void synchronize(const Stream& stream) {
  if (is_cuda(stream.device)) cuda::synchronize(stream);
}

void copy(const Stream& stream, const Tensor& from, const Tensor& to) {
  require<OpError>(from.dtype() == to.dtype() && from.elements() == to.elements() &&
                       from.is_contiguous() && to.is_contiguous(),
                   "[copy] expected two contiguous tensors of one type and size, got {} and {}",
                   from.str(), to.str());
  if (!is_cuda(from.device()) && !is_cuda(to.device())) {
    if (from.raw() != to.raw()) std::memmove(to.raw(), from.raw(), from.bytes());
    return;
  }
  require<OpError>(is_cuda(stream.device), "[copy] {} on {} to {}: expected a stream of the device",
                   from.str(), from.device().str(), to.device().str());
  if (is_cuda(from.device()) && is_cuda(to.device())) {
    cuda::copy(stream, to.raw(), from.raw(), from.bytes());
    return;
  }
  require<OpError>(!cuda::is_capturing(stream),
                   "[copy] {} on {} to {}: a graph that is recorded cannot read or write memory of "
                   "the host",
                   from.str(), from.device().str(), to.device().str());
  auto* const target = static_cast<std::byte*>(to.raw());
  const std::span bytes(static_cast<const std::byte*>(from.raw()), from.bytes());
  if (is_cuda(to.device())) {
    internal::upload(stream, bytes, target);
  } else {
    cuda::copy(stream, target, bytes.data(), bytes.size());
    cuda::synchronize(stream);
  }
}

HostCopy::HostCopy(const Stream& stream, const Tensor& tensor) : tensor_(tensor) {
  if (!is_cuda(tensor.device())) return;
  memory_ = OwnedTensor(tensor.dtype(), tensor.shape());
  tensor_ = memory_.tensor;
  copy(stream, tensor, tensor_);
}

double HostCopy::operator[](std::int64_t i) const {
  return tensor_.dtype() == DType::f64 ? tensor_.data<double>()[i] : tensor_.data<float>()[i];
}

void fill_from_host(const Stream& stream, const Tensor& to,
                    const std::function<void(const Tensor&)>& fill) {
  if (!is_cuda(to.device())) {
    fill(to);
    return;
  }
  const OwnedTensor host(to.dtype(), to.shape());
  fill(host.tensor);
  copy(stream, host.tensor, to);
}

void read_bytes(const Stream& stream, const Tensor& tensor,
                const std::function<void(std::span<const std::byte>)>& sink) {
  require<OpError>(tensor.is_contiguous(), "[read_bytes] expected a contiguous tensor, got {}",
                   tensor.str());
  const std::span bytes(static_cast<const std::byte*>(tensor.raw()), tensor.bytes());
  if (is_cuda(tensor.device())) {
    internal::download(stream, bytes, sink);
  } else if (!bytes.empty()) {
    sink(bytes);
  }
}

ProfileRange::ProfileRange(const char* name) {
  cuda::push_range(name);
}

ProfileRange::~ProfileRange() {
  cuda::pop_range();
}

}  // namespace gda
