#include "gda/train/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstring>
#include <span>

#include "gda/core/checksum.h"
#include "gda/core/error.h"
#include "tensorboard.pb.h"

namespace gda {
namespace {

static_assert(std::endian::native == std::endian::little, "records are little-endian");

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::filesystem::path path_in(const std::filesystem::path& directory) {
  static std::atomic<int> files{0};  // several in one second of one process stay apart
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) std::strcpy(host.data(), "localhost");
  return directory / fmt::format("events.out.tfevents.{:010}.{}.{}.{}",
                                 static_cast<std::int64_t>(seconds_now()), host.data(), ::getpid(),
                                 files++);
}

std::uint32_t masked_crc(std::string_view bytes) {
  return std::rotr(crc32c(std::as_bytes(std::span(bytes))), 15) + 0xa282ead8U;
}

template <class T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

std::string record(const tensorboard::Event& event) {
  const std::string data = event.SerializeAsString();
  const std::string length = bytes_of(static_cast<std::uint64_t>(data.size()));
  return length + bytes_of(masked_crc(length)) + data + bytes_of(masked_crc(data));
}

tensorboard::Event event_at(std::int64_t step) {
  tensorboard::Event event;
  event.set_wall_time(seconds_now());
  event.set_step(step);
  return event;
}

}  // namespace

EventFile::EventFile(const std::filesystem::path& directory,
                     std::optional<std::int64_t> resumed_step)
    : path_(path_in(directory)), file_(path_) {
  tensorboard::Event version = event_at(0);
  version.set_file_version("brain.Event:2");
  file_.write(record(version));
  if (resumed_step) {
    tensorboard::Event start = event_at(*resumed_step + 1);
    start.mutable_session_log()->set_status(tensorboard::SessionLog::START);
    file_.write(record(start));
  }
}

void EventFile::add(std::string tag, double value) {
  values_.emplace_back(std::move(tag), static_cast<float>(value));
}

void EventFile::write(std::int64_t step) {
  tensorboard::Event event = event_at(step);
  for (const auto& [tag, value] : values_) {
    auto* entry = event.mutable_summary()->add_value();
    entry->set_tag(tag);
    entry->set_simple_value(value);
  }
  file_.write(record(event));
  values_.clear();
}

}  // namespace gda
