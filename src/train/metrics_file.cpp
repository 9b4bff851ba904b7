#include "gda/train/metrics_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "gda/core/error.h"
#include "gda/core/mapped_file.h"

namespace gda {
namespace {

using Json = nlohmann::ordered_json;

// Whether a line (without its end) is a report of a step up to last_step.
bool belongs(std::string_view line, std::int64_t last_step) {
  const Json report = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!report.is_object()) return false;
  const auto step = report.find("step");
  return step != report.end() && step->is_number_integer() &&
         step->get<std::int64_t>() <= last_step;
}

struct Kept {
  std::size_t bytes = 0;
  std::int64_t dropped_lines = 0;
};

Kept find_kept(std::string_view text, std::int64_t last_step) {
  Kept kept;
  while (kept.bytes < text.size()) {
    const std::size_t end = text.find('\n', kept.bytes);
    if (end == std::string_view::npos) break;  // half a line
    if (!belongs(text.substr(kept.bytes, end - kept.bytes), last_step)) break;
    kept.bytes = end + 1;
  }
  const std::string_view rest = text.substr(kept.bytes);
  kept.dropped_lines =
      std::count(rest.begin(), rest.end(), '\n') + (!rest.empty() && rest.back() != '\n' ? 1 : 0);
  return kept;
}

[[noreturn]] void fail_on(std::string_view action, const std::filesystem::path& path) {
  const int reason = errno;
  fail<IoError>("cannot {} {}: {}", action, path.string(), std::strerror(reason));
}

}  // namespace

MetricsFile::MetricsFile(const std::filesystem::path& path, std::int64_t last_step) : path_(path) {
  Kept kept;
  if (std::filesystem::is_regular_file(path)) {
    const MappedFile file(path);
    const auto bytes = file.bytes();
    kept = find_kept({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, last_step);
    dropped_lines_ = kept.dropped_lines;
  }
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_on("open", path);
  if (dropped_lines_ > 0 && ::ftruncate(fd_, static_cast<off_t>(kept.bytes)) != 0) {
    const int reason = errno;
    ::close(fd_);
    errno = reason;
    fail_on("shorten", path);
  }
}

MetricsFile::~MetricsFile() {
  ::close(fd_);
}

void MetricsFile::write(const StepReport& report) {
  const bool has_peak = report.peak_flops > 0;
  Json line{{"step", report.step},
            {"tokens", report.tokens},
            {"loss", report.loss},
            {"lr", report.lr},
            {"grad_norm", report.grad_norm},
            {"tokens_per_second", report.tokens_per_second},
            {"flops_full", report.flops_full},
            {"flops_causal", report.flops_causal},
            {"mfu_full", has_peak ? Json(report.mfu_full()) : Json()},
            {"mfu_causal", has_peak ? Json(report.mfu_causal()) : Json()},
            {"eta_seconds", report.eta_seconds},
            {"skipped", report.skipped},
            {"flops", report.total_flops},
            {"parameters", report.parameters},
            {"trainable_parameters", report.trainable_parameters},
            {"stage", report.stage},
            {"mask", report.mask ? Json(*report.mask) : Json()},
            {"resident_bytes", report.resident_bytes},
            {"peak_resident_bytes", report.peak_resident_bytes},
            {"loss_by_source", Json::object()},
            {"passes_by_source", Json::object()},
            {"lambda", report.lambdas},
            {"seconds", Json::object()}};
  for (const auto& [name, loss] : report.source_losses) line["loss_by_source"][name] = loss;
  for (const auto& [name, passes] : report.source_passes) line["passes_by_source"][name] = passes;
  for (std::size_t i = 0; i < kPhases; ++i) {
    line["seconds"][std::string(name_of(static_cast<Phase>(i)))] = report.seconds[i];
  }
  append(line.dump());
}

void MetricsFile::write(const EvalReport& report) {
  const Json line{{"step", report.step},
                  {"eval",
                   {{"name", report.name},
                    {"loss", report.loss},
                    {"perplexity", report.perplexity()},
                    {"tokens", report.tokens}}}};
  append(line.dump());
}

void MetricsFile::write(const GrowthReport& report) {
  const Json line{{"step", report.step},
                  {"growth",
                   {{"stage", report.stage},
                    {"parameters_before", report.parameters_before},
                    {"parameters", report.parameters},
                    {"loss_before", report.loss_before},
                    {"loss", report.loss},
                    {"preserving", report.preserving}}}};
  append(line.dump());
}

void MetricsFile::append(std::string line) {
  line += '\n';
  const off_t end = ::lseek(fd_, 0, SEEK_END);
  // One write for the line and its end, so that a reader never sees half of one.
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t count = ::write(fd_, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int reason = errno;
      // What a full disk took of the line goes away again, as far as that can be done.
      [[maybe_unused]] const int result = ::ftruncate(fd_, end);
      errno = reason;
      fail_on("write", path_);
    }
    rest.remove_prefix(static_cast<std::size_t>(count));
  }
}

}  // namespace gda
