// A training run: its data, model, optimizer, reports and checkpoints, step by step.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gda/core/output_lock.h"
#include "gda/core/stream.h"
#include "gda/data/data_loader.h"
#include "gda/data/tokenizer.h"
#include "gda/dist/communicator.h"
#include "gda/dist/mesh.h"
#include "gda/train/data_agreement.h"
#include "gda/train/run_config.h"
#include "gda/train/run_log.h"
#include "gda/train/run_state.h"
#include "gda/train/stop_request.h"
#include "gda/train/trained_model.h"

namespace gda {

struct RunOutcome {
  std::int64_t first_step = 0;               // done before
  std::int64_t step = 0;                     // done in all
  StopReason stopped_by = StopReason::none;  // none: all steps were done
};

// How a run begins.
struct RunStart {
  // Data, data.tokenizer and the tokenizer of train.init_from may be different ones, as where two
  // files hold the same tokenizer.
  bool accept_other_tokenizer = false;
};

// Where a run goes on.
struct ResumePoint {
  std::optional<std::int64_t> step;  // nothing: the newest healthy checkpoint
  // The samples of so many of the steps to come are left out, such as bad ones.
  std::int64_t skip_steps = 0;
  // The data may be other than the checkpoint was trained with. The run goes on at the same number
  // of samples: those that were taken of a source count as taken of the new one, whose order is its
  // own, so text may come twice in a pass, or not until the next.
  bool accept_changed_data = false;
};

// The compute type of a run on this device: the configured one, or f32 where that is bf16 and the
// processor has no bf16 arithmetic.
DType supported_compute_type(const PrecisionConfig& precision, Device device);

// In a run folder: whose it is while a process writes there (output_lock.h).
inline constexpr const char* kRunLockFile = "lock";

class RunTimeline;

class Trainer {
 public:
  // `config` must have passed its checks; `world` must outlive the trainer. Chooses the device,
  // finds out what the data is (identify_run_data) and opens it; the model is allocated by begin or
  // resume. ConfigError that lists all faults if the data is none for this model. Collective, as is
  // everything below.
  Trainer(const RunConfig& config, Communicator& world);
  ~Trainer();

  // A new run: parameters by their initialisers, or from train.init_from. Throws ConfigError if the
  // run folder already holds checkpoints, or another process has it. From here on it is this one's,
  // until the trainer is gone.
  void begin(const RunStart& start = {});
  // Goes on from a checkpoint of the run folder, written at any world size. Newer ones than the
  // step that was asked for are marked as unhealthy: the run has left their way. ConfigError that
  // names source and difference if the data is not what the checkpoint was trained with; new and
  // missing sources are told in the log.
  void resume(const ResumePoint& point = {});

  // Trains until train.steps, or until asked to stop; then saves. Throws Error when the run cannot
  // go on, which says from where and how it can; the last healthy checkpoint is there then.
  RunOutcome run(const StopRequest& stop);

  // For tests and reports, once begun or resumed.
  const RunState& state() const { return state_; }
  const GrowthState& growth() const { return growth_; }
  const ParameterStore& parameters() const { return model_->parameters; }
  const StepResult& last_step() const { return last_; }
  const Optimizer& optimizer() const { return model_->optimizer; }
  const Arena& scratch() const { return arena_; }

 private:
  Context context() {
    return {.stream = stream_.get(), .arena = arena_, .reproducible = config_.train.reproducible};
  }
  const ModelConfig& model_config() const;
  // Allocates the model of state_.growths, of which what the configuration says is trainable.
  // `added`: what growth has added to the model that `origin` names.
  void allocate_model(const std::vector<std::string>& added, std::string_view origin);
  std::size_t most_micro_batches() const;
  void lock_folder();
  void require_new_folder() const;
  void open_folder(bool resumed);
  void train_one_step();
  void fill_micro_batches(std::int64_t batch_size);
  // Data that is of the run or not, and bad samples (trainer_data.cpp).
  void check_tokenizers(const RunStart& start) const;
  void check_data(const CheckpointReader& reader, const ResumePoint& point) const;
  std::string read_samples();
  void end_if_nothing_is_learned();
  [[noreturn]] void end_for_bad_data(const std::string& what, const std::string& fault,
                                     const std::string& way_on);
  void follow_ramp();
  // Growth stages (trainer_growth.cpp).
  void check_growths(const CheckpointReader& reader) const;
  void grow_if_due();
  void grow();
  std::optional<double> loss_of(const Batch& batch);
  // What the devices can do, and what steps do of it (trainer_speed.cpp).
  void find_peak();
  double measure_products();
  void judge_speed(double full, double causal);
  void log_page() const;
  std::int64_t last_sample() const;
  void tell_repetition() const;
  void after_step();
  void report();
  void evaluate();
  std::optional<EvalReport> evaluate(const EvaluationSet& set, std::int64_t samples);
  void sample_text();
  // Saving and going on (trainer_checkpoints.cpp).
  void restore(const CheckpointReader& reader);
  void check_settings(const CheckpointReader& reader) const;
  std::string keep_decay(const CheckpointReader& reader, const ResumePoint& point);
  void tell_jump_of_rate(const CheckpointReader& reader) const;
  void leave_newer(const CheckpointReader& reader) const;
  void save_if_due();
  void save(bool wait);
  void finish_save(bool wait, bool must_work);
  std::string fault_of_weights();
  void end_if_diverged();

  RunConfig config_;
  Communicator& world_;
  Device device_;
  OwnedStream stream_;
  std::unique_ptr<Communicator> device_world_;  // world_ for tensors of the device, too
  Mesh mesh_;
  DType compute_;
  std::unique_ptr<const RunTimeline> timeline_;
  IdentifiedRunData data_facts_;
  DataLoader data_;
  Arena arena_;
  std::unique_ptr<TrainedModel> model_;
  LossGuard guard_;
  FlopsPerToken flops_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<OutputLock> lock_;  // rank 0's
  std::unique_ptr<RunLog> log_;
  Peak peak_;

  RunState state_;
  GrowthState growth_;
  StepResult last_;
  double last_lr_ = 0;
  std::optional<double> last_mask_;
  std::vector<Batch> micro_batches_;
  PhaseTimer timer_{stream_.get()};
  std::int64_t reported_tokens_ = 0;
  std::int64_t reported_step_ = 0;
  FlopsPerToken unreported_flops_;          // of the steps since the last report, not a token
  std::int64_t steps_without_targets_ = 0;  // in a row
  std::int64_t saved_step_ = -1;
  std::int64_t first_step_ = 0;  // done before this process
  bool save_is_due_ = false;
  bool samples_are_read_ = false;  // into micro_batches_, on every rank
};

}  // namespace gda
