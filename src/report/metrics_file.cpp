#include "gda/report/metrics_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "gda/core/error.h"
#include "gda/core/mapped_file.h"
#include "gda/report/readable.h"
#include "report/metrics_fields.h"

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

using Clock = std::chrono::steady_clock;

Json stamped(std::int64_t step, Clock::time_point begin) {
  const LineStamp stamp{
      .step = step,
      .time = utc_time(std::chrono::system_clock::now()),
      .elapsed_seconds = std::chrono::duration<double>(Clock::now() - begin).count()};
  Json line = Json::object();
  add_fields(stamp, line);
  return line;
}

template <class Report>
std::string stamped(std::int64_t step, Clock::time_point begin, const char* kind,
                    const Report& report) {
  Json line = stamped(step, begin);
  line[kind] = Json::object();
  add_fields(report, line[kind]);
  return line.dump();
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
  Json line = stamped(report.step, begin_);
  add_fields(report, line);
  append(line.dump());
}

void MetricsFile::write(const EvalReport& report) {
  append(stamped(report.step, begin_, "eval", report));
}

void MetricsFile::write(const EvalMeanReport& report) {
  append(stamped(report.step, begin_, "eval_mean", report));
}

void MetricsFile::write(const GrowthReport& report) {
  append(stamped(report.step, begin_, "growth", report));
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
