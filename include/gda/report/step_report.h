// Reports of a run, for each logging interval, evaluation and growth stage.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gda/report/peak_flops.h"
#include "gda/report/phase_timer.h"

namespace gda {

// docs/metrics.md says what the values are. Rates and seconds are over the steps since the last
// report. Floating-point operations are the model's, a token, by two conventions: full counts
// attention over all T positions (6 * (parameters - embedding) + 12 * layers * width of attention *
// T), causal counts half of the attention.
struct StepReport {
  std::int64_t step = 0;  // steps done
  std::int64_t total_steps = 0;
  std::int64_t tokens = 0;  // trained on since step 0, by all ranks
  double loss = 0;          // mean over the targets of the step, nats; NaN without
  std::int64_t targets = 0;
  double lr = 0;
  double grad_norm = 0;  // before clipping
  double tokens_per_second = 0;
  double flops_full = 0;    // FLOP/s of all ranks
  double flops_causal = 0;  // FLOP/s of all ranks
  Peak peak;
  double eta_seconds = 0;
  std::int64_t skipped = 0;  // updates left out since the run began
  double total_flops = 0;    // model FLOPs since step 0, full convention
  std::int64_t parameters = 0;
  std::int64_t trainable_parameters = 0;
  // Growth stages of the run, and how many are done.
  std::int64_t stages = 0;
  std::int64_t stage = 0;
  // Growth's mask in the step's passes, in [0, 1); nothing when no growth is being faded in.
  std::optional<double> mask = {};
  std::vector<std::pair<std::string, double>> source_losses;  // by name of the data source
  // Each source's share of the samples that are drawn now, and how often it has been gone through.
  std::vector<std::pair<std::string, double>> source_shares = {};
  std::vector<std::pair<std::string, double>> source_passes = {};
  std::vector<double> lambdas;  // of each layer; may be empty
  // QK-clip's findings since the last report (logit_watch.h).
  std::vector<double> max_logits = {};
  std::int64_t clipped_heads = 0;
  PhaseSeconds seconds{};
  // Since the last report, by group of ranks: bytes that this rank sent to the others, and seconds
  // that it waited for them.
  std::vector<std::pair<std::string, double>> sent_bytes = {};
  std::vector<std::pair<std::string, double>> waited_seconds = {};
  std::int64_t resident_bytes = 0;       // memory of this rank now
  std::int64_t peak_resident_bytes = 0;  // and the most that any rank ever had

  // Shares of the peak, and of what was measured; nothing where that is not known, or above 1.
  std::optional<double> mfu_full() const { return share(flops_full, peak.flops); }
  std::optional<double> mfu_causal() const { return share(flops_causal, peak.flops); }
  std::optional<double> share_of_measured() const { return share(flops_causal, peak.measured); }

  // rate / of.
  static std::optional<double> share(double rate, double of) {
    return of > 0 && rate >= 0 && rate <= of ? std::optional(rate / of) : std::nullopt;
  }
};

// A growth stage that is done. Losses are of the same samples, the next ones, nats a token.
struct GrowthReport {
  std::int64_t step = 0;
  std::int64_t stage = 0;  // from 1
  std::int64_t parameters_before = 0;
  std::int64_t parameters = 0;
  double loss_before = 0;
  double loss = 0;
  bool preserving = true;  // whether the plan keeps the function
};

struct EvalReport {
  std::int64_t step = 0;
  std::string name;
  double loss = 0;  // mean, nats a token; NaN if there was nothing to predict
  std::int64_t tokens = 0;

  double perplexity() const;  // e^loss
};

// Over the tokens of all sets that were evaluated at a step.
struct EvalMeanReport {
  std::int64_t step = 0;
  double total_loss = 0;  // nats
  std::int64_t tokens = 0;
  std::int64_t sets = 0;

  void add(const EvalReport& report);
  double loss() const;  // nats a token; NaN if there was nothing to predict
  double perplexity() const;
};

}  // namespace gda
