#include "gda/core/stream.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "core/device_runtime.h"
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

void Event::hold_back(const Stream& stream) const {
  if (handle_ != nullptr) cuda::wait_in(stream, handle_);
}

bool Event::reached() const {
  return handle_ == nullptr || cuda::reached(handle_);
}

void Event::wait() const {
  if (handle_ != nullptr) cuda::wait_for(handle_);
}

double Event::seconds_until(const Event& later) const {
  return handle_ == nullptr ? 0 : cuda::seconds_between(handle_, later.handle_);
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
    cuda::destroy_graph(cuda::end_capture(stream));  // the stream must be usable again
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
  cuda::copy(stream, to.raw(), from.raw(), from.bytes());
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

namespace {

// Two pinned buffers that take turns. Pinned memory takes long to get, so they are kept.
class Staging {
 public:
  static constexpr std::size_t kBytes = std::size_t{8} << 20;

  // For one reader at a time.
  static Staging& of(Device device) {
    static std::map<int, Staging*> all;
    Staging*& staging = all[device.index];
    if (staging == nullptr) staging = new Staging(device);  // outlives the driver's own end
    return *staging;
  }

  void fetch(const Stream& stream, std::size_t number, std::span<const std::byte> part) {
    Half& half = halves_[number % 2];
    half.copied.wait();
    cuda::copy(stream, half.data, part.data(), part.size());
    half.copied.record(stream);
  }
  const std::byte* await(std::size_t number) const {
    const Half& half = halves_[number % 2];
    half.copied.wait();
    return half.data;
  }

 private:
  struct Half {
    std::byte* data = nullptr;
    Event copied;
  };

  explicit Staging(Device device) {
    for (Half& half : halves_) {
      half.copied = Event(device);
      half.data = static_cast<std::byte*>(cuda::allocate_pinned(kBytes));
      if (half.data == nullptr) throw OutOfMemory(kBytes, {}, "pinned staging");
    }
  }

  std::array<Half, 2> halves_;
};

std::mutex& staging_mutex() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace

void read_bytes(const Stream& stream, const Tensor& tensor,
                const std::function<void(std::span<const std::byte>)>& sink) {
  require<OpError>(tensor.is_contiguous(), "[read_bytes] expected a contiguous tensor, got {}",
                   tensor.str());
  const std::span bytes(static_cast<const std::byte*>(tensor.raw()), tensor.bytes());
  if (bytes.empty()) return;
  if (!is_cuda(tensor.device())) return sink(bytes);
  const std::lock_guard one_reader(staging_mutex());
  Staging& staging = Staging::of(tensor.device());
  const std::size_t parts = (bytes.size() + Staging::kBytes - 1) / Staging::kBytes;
  const auto part = [&](std::size_t i) {
    const std::size_t begin = i * Staging::kBytes;
    return bytes.subspan(begin, std::min(Staging::kBytes, bytes.size() - begin));
  };
  staging.fetch(stream, 0, part(0));
  for (std::size_t i = 0; i < parts; ++i) {
    if (i + 1 < parts) staging.fetch(stream, i + 1, part(i + 1));
    sink({staging.await(i), part(i).size()});
  }
}

ProfileRange::ProfileRange(const char* name) {
  cuda::push_range(name);
}

ProfileRange::~ProfileRange() {
  cuda::pop_range();
}

}  // namespace gda
