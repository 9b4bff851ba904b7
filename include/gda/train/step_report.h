// What a run tells about itself, once per logging interval and once per evaluation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gda/train/phase_timer.h"

namespace gda {

// Rates and seconds are over the steps since the last report. Floating-point operations are the
// model's, a token, by two conventions: full counts attention over all T positions
// (6 * (parameters - embedding) + 12 * layers * width of attention * T), causal counts half of the
// attention.
struct StepReport {
  std::int64_t step = 0;  // steps done
  std::int64_t total_steps = 0;
  std::int64_t tokens = 0;  // trained on since step 0, by all ranks
  double loss = 0;          // mean over the tokens of the step, nats
  double lr = 0;
  double grad_norm = 0;  // before clipping
  double tokens_per_second = 0;
  double flops_full = 0;    // FLOP/s of all ranks
  double flops_causal = 0;  // FLOP/s of all ranks
  double peak_flops = 0;    // FLOP/s that all ranks could do; 0: not known, no MFU is shown
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
  // How often each source has been gone through.
  std::vector<std::pair<std::string, double>> source_passes = {};
  std::vector<double> lambdas;  // of each layer; may be empty
  PhaseSeconds seconds{};
  std::int64_t resident_bytes = 0;       // memory of this rank now
  std::int64_t peak_resident_bytes = 0;  // and the most it ever had

  // Shares of the peak; 0 when the peak is not known.
  double mfu_full() const { return peak_flops > 0 ? flops_full / peak_flops : 0; }
  double mfu_causal() const { return peak_flops > 0 ? flops_causal / peak_flops : 0; }
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
  double loss = 0;  // mean, nats a token
  std::int64_t tokens = 0;

  double perplexity() const;  // e^loss
};

}  // namespace gda
