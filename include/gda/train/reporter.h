// Progress reports of a run: the page that it begins with, its steps with their rates, evaluations,
// and samples of text. Every rank takes part; the root speaks (run_log.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "gda/report/peak_flops.h"
#include "gda/report/phase_timer.h"
#include "gda/report/run_log.h"
#include "gda/tokenizer/tokenizer.h"
#include "gda/train/run.h"
#include "gda/train/run_progress.h"
#include "gda/train/step_samples.h"

namespace gda {

// Everything but timer() is collective.
class Reporter {
 public:
  // `run` must outlive it. Opens the tokenizer of samples of text.
  explicit Reporter(Run& run);

  // Finds the devices' peak FLOP/s, before the model takes their memory.
  void find_peak();
  // Opens the log of every rank and the root's files, and writes the configuration there.
  // `resumed_step`: of the checkpoint that the run goes on from.
  void open(std::optional<std::int64_t> resumed_step);
  // The page that the run begins with. Rates count from here on.
  void begin(const RunProgress& progress);

  // Time of the steps, by phase.
  PhaseTimer& timer() { return timer_; }
  // After each step, progress.last: what the configuration says is due. Data that could not be read
  // for it, which ends the run.
  [[nodiscard]] std::optional<UnreadableData> after_step(const RunProgress& progress);
  // A growth stage is done.
  void report(const GrowthReport& growth, const RunProgress& progress);

 private:
  void log_page(const RunProgress& progress) const;
  void tell_repetition(const RunProgress& progress) const;
  std::int64_t last_sample(const RunProgress& progress) const;
  void report(const RunProgress& progress);
  void add_sources(const RunProgress& progress, StepReport& report) const;
  void add_traffic(StepReport& report);

  Run& run_;
  std::unique_ptr<Tokenizer> tokenizer_;  // the root's, for samples of text
  std::unique_ptr<RunLog> log_;           // the root's
  Peak peak_;
  PhaseTimer timer_;
  std::int64_t reported_tokens_ = 0;
  std::int64_t reported_step_ = 0;
  std::vector<Traffic> reported_traffic_;
  FlopsPerToken unreported_flops_;  // of the steps since the last report, not a token
};

}  // namespace gda
