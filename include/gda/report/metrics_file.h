// metrics.jsonl: everything a run reports, one JSON object a line.
//
// docs/metrics.md (metrics_page.h) says which fields a line has. What is not finite is null.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "gda/report/step_report.h"

namespace gda {

class MetricsFile {
 public:
  // Appends to the file at `path`, after dropping what a run that is resumed at last_step reported
  // beyond it: from the first line that has a larger step, or that is not a whole JSON object, to
  // the end. Throws IoError.
  MetricsFile(const std::filesystem::path& path, std::int64_t last_step);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  void write(const StepReport& report);
  void write(const EvalReport& report);
  void write(const EvalMeanReport& report);
  void write(const GrowthReport& report);

  // Lines that were dropped at the start.
  std::int64_t dropped_lines() const { return dropped_lines_; }

 private:
  void append(std::string line);

  std::filesystem::path path_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  int fd_ = -1;
  std::int64_t dropped_lines_ = 0;
};

}  // namespace gda
