// Reports that the root of a run writes: the status line in the log, metrics.jsonl, and
// TensorBoard events.
//
// docs/metrics.md has the fields of metrics.jsonl and TensorBoard's tags. TensorBoard also shows
// the configuration as text, and every setting as a hyper-parameter.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "gda/report/event_file.h"
#include "gda/report/metrics_file.h"
#include "gda/report/status_line.h"
#include "gda/report/step_report.h"

namespace gda {

struct RunLogOptions {
  std::filesystem::path metrics;                     // metrics.jsonl; its folder must exist
  std::optional<std::filesystem::path> events = {};  // the folder of TensorBoard's; nothing: none
  std::int64_t total_steps = 0;
  Peak peak = {};
  std::string config = {};                           // the configuration in YAML; empty: not shown
  std::map<std::string, std::string> settings = {};  // by dotted path, as YAML, for TensorBoard
  std::optional<std::int64_t> resumed_step = {};     // of the checkpoint that the run goes on from
};

class RunLog {
 public:
  explicit RunLog(const RunLogOptions& options);

  void report(const StepReport& report);
  void report(const EvalReport& report);
  void report(const EvalMeanReport& report);
  void report(const GrowthReport& report);

 private:
  StatusLine status_;
  MetricsFile metrics_;
  std::optional<EventFile> events_;
};

}  // namespace gda
