// Where rank 0 reports how the run goes: the status line in the log, metrics.jsonl, and TensorBoard
// events, all in the run folder.
//
// TensorBoard tags: train/{loss,lr,grad_norm,tokens,skipped}, train/flops, growth/{stage, mask
// (while one rises), loss_before, loss_after}, model/{parameters,trainable_parameters},
// throughput/{tokens_per_second, flops_full,flops_causal,mfu_full,mfu_causal}, seconds/PHASE,
// memory/{resident_bytes, peak_resident_bytes}, loss_by_source/NAME, lambda/layer_NN,
// eval/NAME/{loss,perplexity}.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "gda/train/event_file.h"
#include "gda/train/metrics_file.h"
#include "gda/train/status_line.h"
#include "gda/train/step_report.h"

namespace gda {

struct RunLogOptions {
  std::filesystem::path directory;  // must exist
  bool tensorboard = true;
  std::int64_t total_steps = 0;
  double peak_flops = 0;                          // of all ranks; 0: not known
  std::optional<std::int64_t> resumed_step = {};  // of the checkpoint that the run goes on from
};

class RunLog {
 public:
  explicit RunLog(const RunLogOptions& options);

  void report(const StepReport& report);
  void report(const EvalReport& report);
  void report(const GrowthReport& report);

 private:
  StatusLine status_;
  MetricsFile metrics_;
  std::optional<EventFile> events_;
};

}  // namespace gda
