#include "core/staging.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "core/device_runtime.h"
#include "gda/core/memory.h"
#include "gda/core/stream.h"

namespace gda::internal {
namespace {

std::byte* pinned(std::size_t bytes, Device device) {
  void* data = cuda::allocate_pinned(bytes, device.index);
  if (data == nullptr) throw OutOfMemory(bytes, {}, "pinned staging");
  return static_cast<std::byte*>(data);
}

// Of a device. Pinned memory takes long to get, so it is kept.
template <class T>
T& one_of(Device device) {
  static std::mutex mutex;
  static std::map<int, T*> all;
  const std::lock_guard lock(mutex);
  T*& one = all[device.index];
  if (one == nullptr) one = new T(device);  // outlives the driver's own end
  return *one;
}

// What is on its way to the device lies in a ring, in the order in which it was put there.
class Ring {
 public:
  explicit Ring(Device device) : device_(device), data_(pinned(kBytes, device)) {}

  void upload(const Stream& stream, std::span<const std::byte> from, std::byte* to) {
    const std::lock_guard lock(mutex_);
    for (std::size_t done = 0; done < from.size();) {
      const auto part = from.subspan(done, std::min(kPieceBytes, from.size() - done));
      std::byte* const staged = make_room(part.size());
      std::memcpy(staged, part.data(), part.size());
      cuda::copy(stream, to + done, staged, part.size());
      under_way_.back().copied.record(stream);
      done += part.size();
    }
  }

 private:
  static constexpr std::size_t kBytes = std::size_t{16} << 20;
  // Large enough for the full speed of a bus, small enough that one is filled while others go.
  static constexpr std::size_t kPieceBytes = kBytes / 4;
  static constexpr std::size_t kAlignment = 256;
  // Far more than there are in a step; so that looking through them takes no time.
  static constexpr std::size_t kMostPieces = 256;

  struct Piece {
    std::size_t begin = 0;
    std::size_t end = 0;
    Event copied;
  };

  // Waits until the ring's next bytes are of no piece under way, and makes them one.
  std::byte* make_room(std::size_t bytes) {
    if (next_ + bytes > kBytes) next_ = 0;
    const std::size_t begin = next_;
    const std::size_t end = begin + (bytes + kAlignment - 1) / kAlignment * kAlignment;
    const auto overlaps = [&](const Piece& piece) {
      return piece.begin < end && begin < piece.end;
    };
    Event copied;
    bool is_made = false;
    while (under_way_.size() == kMostPieces ||
           std::any_of(under_way_.begin(), under_way_.end(), overlaps)) {
      under_way_.front().copied.wait();
      copied = std::move(under_way_.front().copied);
      is_made = true;
      under_way_.pop_front();
    }
    if (!is_made) copied = Event(device_);
    under_way_.push_back({.begin = begin, .end = end, .copied = std::move(copied)});
    next_ = end;
    return data_ + begin;
  }

  std::mutex mutex_;
  Device device_;
  std::byte* data_;
  std::size_t next_ = 0;
  std::deque<Piece> under_way_;
};

// Two buffers that take turns.
class Halves {
 public:
  static constexpr std::size_t kBytes = std::size_t{8} << 20;

  explicit Halves(Device device) {
    for (Half& half : halves_) half = {.data = pinned(kBytes, device), .copied = Event(device)};
  }

  void download(const Stream& stream, std::span<const std::byte> from,
                const std::function<void(std::span<const std::byte>)>& sink) {
    const std::lock_guard one_reader(mutex_);
    const std::size_t parts = (from.size() + kBytes - 1) / kBytes;
    const auto part = [&](std::size_t i) {
      return from.subspan(i * kBytes, std::min(kBytes, from.size() - i * kBytes));
    };
    fetch(stream, 0, part(0));
    for (std::size_t i = 0; i < parts; ++i) {
      if (i + 1 < parts) fetch(stream, i + 1, part(i + 1));
      const Half& half = halves_[i % 2];
      half.copied.wait();
      sink({half.data, part(i).size()});
    }
  }

 private:
  struct Half {
    std::byte* data = nullptr;
    Event copied;
  };

  void fetch(const Stream& stream, std::size_t number, std::span<const std::byte> part) {
    Half& half = halves_[number % 2];
    half.copied.wait();
    cuda::copy(stream, half.data, part.data(), part.size());
    half.copied.record(stream);
  }

  std::mutex mutex_;
  std::array<Half, 2> halves_;
};

}  // namespace

void upload(const Stream& stream, std::span<const std::byte> from, std::byte* to) {
  one_of<Ring>(stream.device).upload(stream, from, to);
}

void download(const Stream& stream, std::span<const std::byte> from,
              const std::function<void(std::span<const std::byte>)>& sink) {
  if (!from.empty()) one_of<Halves>(stream.device).download(stream, from, sink);
}

}  // namespace gda::internal
