// A training run: its data, model, optimizer, reports and checkpoints, step by step.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gda/data/data_loader.h"
#include "gda/data/tokenizer.h"
#include "gda/dist/communicator.h"
#include "gda/train/run_checkpoints.h"
#include "gda/train/run_config.h"
#include "gda/train/run_log.h"
#include "gda/train/run_state.h"
#include "gda/train/stop_request.h"
#include "gda/train/train_step.h"

namespace gda {

struct RunOutcome {
  std::int64_t step = 0;                     // steps done
  StopReason stopped_by = StopReason::none;  // none: all steps were done
};

// The compute type of a run on this machine: the configured one, or f32 where that is bf16 and the
// processor has no bf16 arithmetic.
DType supported_compute_type(const PrecisionConfig& precision);

class Trainer {
 public:
  // `config` must have passed its checks; `world` must outlive the trainer. Opens the data and
  // allocates the model. Collective, as is everything below.
  Trainer(const RunConfig& config, Communicator& world);
  ~Trainer();

  // A new run: parameters by their initialisers, or from train.init_from. Throws ConfigError if the
  // run folder already holds checkpoints.
  void begin();
  // Goes on from the newest whole checkpoint of the run folder, written at any world size.
  void resume();

  // Trains until train.steps, or until asked to stop; then saves. Throws Error when the run cannot
  // go on; the last checkpoint is whole then.
  RunOutcome run(const StopRequest& stop);

  // For tests and reports.
  const RunState& state() const { return state_; }
  const ParameterStore& parameters() const { return parameters_; }
  const StepResult& last_step() const { return last_; }
  const ShardedAdamW& optimizer() const { return optimizer_; }

 private:
  Context context() { return {Stream{}, arena_}; }
  void open_folder(bool resumed);
  void train_one_step();
  void fill_micro_batches(std::int64_t batch_size);
  void after_step();
  void report();
  void evaluate();
  void sample_text();
  void save(bool wait);
  void finish_save(bool wait);

  RunConfig config_;
  Communicator& world_;
  DType compute_;
  DataLoader data_;
  Arena arena_;
  ParameterStore parameters_;
  Decoder decoder_;
  ShardedAdamW optimizer_;
  TrainStep step_;
  LossGuard guard_;
  RunCheckpoints checkpoints_;
  FlopsPerToken flops_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<RunLog> log_;
  double peak_flops_ = 0;

  RunState state_;
  StepResult last_;
  double last_lr_ = 0;
  std::vector<Batch> micro_batches_;
  PhaseTimer timer_;
  std::int64_t reported_tokens_ = 0;
  std::int64_t reported_step_ = 0;
  std::int64_t saved_step_ = -1;
};

}  // namespace gda
