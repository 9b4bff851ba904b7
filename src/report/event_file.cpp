#include "gda/report/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <charconv>
#include <chrono>
#include <cstring>
#include <span>

#include "gda/core/checksum.h"
#include "gda/core/error.h"
#include "report/protobuf_message.h"

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

// Field numbers of TensorBoard's messages.
namespace event {
constexpr int kWallTime = 1;  // double, seconds since 1970
constexpr int kStep = 2;
constexpr int kFileVersion = 3;
constexpr int kSummary = 5;
constexpr int kSessionLog = 7;
}  // namespace event
constexpr int kSummaryValue = 1;
constexpr int kValueTag = 1;
constexpr int kValueSimple = 2;
constexpr int kValueTensor = 8;
constexpr int kValueMetadata = 9;
// SummaryMetadata, and the plugin that shows the value.
constexpr int kPlugin = 1;
constexpr int kPluginName = 1;
constexpr int kPluginContent = 2;
constexpr int kDataClass = 4;
constexpr int kDataClassTensor = 2;
// TensorProto: a scalar of type string.
constexpr int kTensorType = 1;
constexpr int kTypeString = 7;
constexpr int kTensorShape = 2;
constexpr int kTensorString = 8;
// tensorboard/plugins/hparams/plugin_data.proto; a map is a list of its entries.
constexpr int kSessionStartInfo = 3;
constexpr int kHyperParameters = 1;
constexpr int kStartTime = 5;
constexpr int kMapKey = 1;
constexpr int kMapValue = 2;
// google.protobuf.Value.
constexpr int kNumber = 2;
constexpr int kString = 3;
constexpr int kBool = 4;
// A session that starts at a step makes void what earlier files hold from there on.
constexpr int kSessionStatus = 1;
constexpr int kSessionStart = 1;

std::string record(const ProtobufMessage& message) {
  const std::string& data = message.bytes();
  const std::string length = bytes_of(static_cast<std::uint64_t>(data.size()));
  return length + bytes_of(masked_crc(length)) + data + bytes_of(masked_crc(data));
}

ProtobufMessage event_at(std::int64_t step) {
  ProtobufMessage message;
  message.add_double(event::kWallTime, seconds_now());
  message.add_integer(event::kStep, step);
  return message;
}

ProtobufMessage metadata_of(std::string_view plugin_name, std::string_view content) {
  ProtobufMessage plugin;
  plugin.add_bytes(kPluginName, plugin_name);
  if (!content.empty()) plugin.add_bytes(kPluginContent, content);
  ProtobufMessage metadata;
  metadata.add_bytes(kPlugin, plugin.bytes());
  return metadata;
}

ProtobufMessage typed_value(const std::string& setting) {
  ProtobufMessage value;
  double number = 0;
  const char* const end = setting.data() + setting.size();
  const auto [rest, fault] = std::from_chars(setting.data(), end, number);
  if (setting == "true" || setting == "false") {
    value.add_integer(kBool, setting == "true" ? 1 : 0);
  } else if (fault == std::errc() && rest == end) {
    value.add_double(kNumber, number);
  } else {
    value.add_bytes(kString, setting);
  }
  return value;
}

}  // namespace

EventFile::EventFile(const std::filesystem::path& directory,
                     std::optional<std::int64_t> resumed_step)
    : path_(path_in(directory)), file_(path_), first_step_(resumed_step.value_or(0)) {
  ProtobufMessage version = event_at(0);
  version.add_bytes(event::kFileVersion, "brain.Event:2");
  file_.write(record(version));
  if (resumed_step) {
    ProtobufMessage session;
    session.add_integer(kSessionStatus, kSessionStart);
    ProtobufMessage start = event_at(*resumed_step + 1);
    start.add_bytes(event::kSessionLog, session.bytes());
    file_.write(record(start));
  }
}

void EventFile::add(std::string tag, double value) {
  values_.emplace_back(std::move(tag), static_cast<float>(value));
}

void EventFile::write(std::int64_t step) {
  ProtobufMessage summary;
  for (const auto& [tag, number] : values_) {
    ProtobufMessage value;
    value.add_bytes(kValueTag, tag);
    value.add_float(kValueSimple, number);
    summary.add_bytes(kSummaryValue, value.bytes());
  }
  ProtobufMessage message = event_at(step);
  message.add_bytes(event::kSummary, summary.bytes());
  file_.write(record(message));
  values_.clear();
}

void EventFile::write_summary(const std::string& value) {
  ProtobufMessage summary;
  summary.add_bytes(kSummaryValue, value);
  ProtobufMessage message = event_at(first_step_);
  message.add_bytes(event::kSummary, summary.bytes());
  file_.write(record(message));
}

void EventFile::write_text(const std::string& tag, const std::string& markdown) {
  ProtobufMessage tensor;
  tensor.add_integer(kTensorType, kTypeString);
  tensor.add_bytes(kTensorShape, "");
  tensor.add_bytes(kTensorString, markdown);
  ProtobufMessage metadata = metadata_of("text", "");
  metadata.add_integer(kDataClass, kDataClassTensor);
  ProtobufMessage value;
  value.add_bytes(kValueTag, tag);
  value.add_bytes(kValueTensor, tensor.bytes());
  value.add_bytes(kValueMetadata, metadata.bytes());
  write_summary(value.bytes());
}

void EventFile::write_hyper_parameters(const std::map<std::string, std::string>& settings) {
  ProtobufMessage start;
  for (const auto& [name, setting] : settings) {
    ProtobufMessage entry;
    entry.add_bytes(kMapKey, name);
    entry.add_bytes(kMapValue, typed_value(setting).bytes());
    start.add_bytes(kHyperParameters, entry.bytes());
  }
  start.add_double(kStartTime, seconds_now());
  ProtobufMessage content;
  content.add_bytes(kSessionStartInfo, start.bytes());
  ProtobufMessage value;
  value.add_bytes(kValueTag, "_hparams_/session_start_info");
  value.add_bytes(kValueMetadata, metadata_of("hparams", content.bytes()).bytes());
  write_summary(value.bytes());
}

}  // namespace gda
