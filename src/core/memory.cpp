#include "gda/core/memory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>

#include "core/device_runtime.h"

namespace gda {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kDeviceAlignment = 256;

std::size_t round_up(std::size_t bytes, Device device) {
  const std::size_t unit = device.type == DeviceType::cuda ? kDeviceAlignment : kAlignment;
  return (bytes + unit - 1) / unit * unit;
}

// Bytes held by device and purpose.
class Ledger {
 public:
  static Ledger& instance() {
    static Ledger ledger;
    return ledger;
  }

  void add(Device device, const char* purpose, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    bytes_[{device.str(), purpose}] += bytes;
  }
  void remove(Device device, const char* purpose, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    bytes_[{device.str(), purpose}] -= bytes;
  }
  // The largest first.
  std::vector<std::pair<std::size_t, std::string_view>> of(Device device) {
    const std::lock_guard lock(mutex_);
    std::vector<std::pair<std::size_t, std::string_view>> held;
    for (const auto& [key, bytes] : bytes_) {
      if (key.first == device.str() && bytes > 0) held.emplace_back(bytes, key.second);
    }
    std::sort(held.rbegin(), held.rend());
    return held;
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::size_t> bytes_;
};

std::string mebibytes(std::size_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

std::size_t free_bytes(Device device) {
  if (device.type == DeviceType::cuda) return cuda::free_bytes(device.index);
  return static_cast<std::size_t>(::sysconf(_SC_AVPHYS_PAGES)) *
         static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

void* allocate(std::size_t bytes, Device device) {
  if (device.type == DeviceType::cuda) return cuda::allocate(bytes, device.index);
  void* data = std::aligned_alloc(kAlignment, round_up(bytes, device));
  if (data != nullptr) std::memset(data, 0, bytes);
  return data;
}

}  // namespace

OutOfMemory::OutOfMemory(std::size_t bytes, Device device, const char* purpose)
    : Error(fmt::format("{} is out of memory: {} were asked for ({}), {} are free, this process "
                        "holds {}",
                        device.type == DeviceType::cpu ? "the host" : device.str(),
                        mebibytes(bytes), purpose, mebibytes(free_bytes(device)),
                        memory_held(device))) {}

std::string memory_held(Device device) {
  std::vector<std::string> parts;
  for (const auto& [bytes, purpose] : Ledger::instance().of(device)) {
    parts.push_back(fmt::format("{} {}", purpose, mebibytes(bytes)));
  }
  return parts.empty() ? "nothing" : fmt::format("{}", fmt::join(parts, ", "));
}

Buffer::Buffer(std::size_t bytes, Device device, const char* purpose)
    : bytes_(bytes), device_(device), purpose_(purpose) {
  if (bytes == 0) return;
  data_ = allocate(bytes, device);
  if (data_ == nullptr) throw OutOfMemory(bytes, device, purpose);
  Ledger::instance().add(device, purpose, bytes);
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  Ledger::instance().remove(device_, purpose_, bytes_);
  if (device_.type == DeviceType::cuda) {
    cuda::release(data_, device_.index);
  } else {
    std::free(data_);
  }
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      device_(other.device_),
      purpose_(other.purpose_) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(device_, other.device_);
  std::swap(purpose_, other.purpose_);
  return *this;
}

Tensor Buffer::tensor(DType dtype, Shape shape, std::size_t offset) const {
  require<OpError>(offset + static_cast<std::size_t>(shape.elements()) * size_of(dtype) <= bytes_,
                   "[buffer] {}{} at byte {} does not fit in {} bytes", name_of(dtype), shape.str(),
                   offset, bytes_);
  return {static_cast<std::byte*>(data_) + offset, dtype, shape, device_};
}

OwnedTensor::OwnedTensor(DType dtype, Shape shape, Device device, const char* purpose)
    : buffer(static_cast<std::size_t>(shape.elements()) * size_of(dtype), device, purpose),
      tensor(buffer.tensor(dtype, shape)) {}

Arena::Arena(Device device, std::size_t block_bytes) : device_(device), block_bytes_(block_bytes) {}

Arena Arena::plan(Device device) {
  Arena arena(device);
  arena.is_plan_ = true;
  return arena;
}

void Arena::reserve(std::size_t bytes) {
  require<OpError>(blocks_.empty() && !is_plan_, "[arena] reserve: {} bytes are held already",
                   capacity());
  if (bytes > 0) blocks_.emplace_back(round_up(bytes, device_), device_, "activations");
}

Tensor Arena::allocate(DType dtype, Shape shape) {
  const std::size_t bytes =
      round_up(static_cast<std::size_t>(shape.elements()) * size_of(dtype), device_);
  if (is_plan_) {
    // Not null, aligned as memory would be, and where no processor has any.
    constexpr auto kNowhere = std::uintptr_t{1} << 62;
    auto* address = reinterpret_cast<std::byte*>(kNowhere + used_);
    take(bytes);
    return {address, dtype, shape, device_};
  }
  while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].bytes()) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) {
    blocks_.emplace_back(std::max(bytes, block_bytes_), device_, "activations");
  }
  const Tensor tensor = blocks_[block_].tensor(dtype, shape, used_);
  take(bytes);
  return tensor;
}

void Arena::take(std::size_t bytes) {
  used_ += bytes;
  peak_ = std::max(peak_, used_);
}

void Arena::rewind(Mark mark) {
  block_ = mark.block;
  used_ = mark.used;
}

std::size_t Arena::capacity() const {
  std::size_t total = 0;
  for (const Buffer& block : blocks_) total += block.bytes();
  return total;
}

}  // namespace gda
