// metrics.jsonl: everything a run reports, one JSON object a line.
//
// A line of a step has the keys step, tokens, loss, lr, grad_norm, tokens_per_second, flops_full,
// flops_causal, mfu_full, mfu_causal, eta_seconds, skipped, flops (so far), parameters,
// trainable_parameters, stage (growth stages done), mask, resident_bytes,
// peak_resident_bytes, loss_by_source {name: loss}, lambda [per layer] and seconds {phase:
// seconds}; a line of an evaluation has step and eval {name, loss, perplexity, tokens}. What is not
// finite is null; MFU is null when the peak is not known, and mask when no growth is being faded
// in.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "gda/train/step_report.h"

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
  void write(const GrowthReport& report);

  // Lines that were dropped at the start.
  std::int64_t dropped_lines() const { return dropped_lines_; }

 private:
  void append(std::string line);

  std::filesystem::path path_;
  int fd_ = -1;
  std::int64_t dropped_lines_ = 0;
};

}  // namespace gda
