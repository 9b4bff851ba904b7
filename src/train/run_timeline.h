// Schedule of a run: a function of its configuration and the step alone, growth stages included.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/train/run_config.h"

namespace gda {

class RunTimeline {
 public:
  // ConfigError when a plan does not fit the model of its stage.
  explicit RunTimeline(const RunConfig& config);

  std::int64_t batch_size(std::int64_t step) const { return train_.batch_size_at(step); }
  // Sum of the batch sizes of steps 0 ... step - 1.
  std::int64_t first_sample(std::int64_t step) const;
  double learning_rate(std::int64_t step) const;
  // The data section, with the weights that stages set.
  const DataConfig& data() const { return data_; }

  std::int64_t stages() const { return static_cast<std::int64_t>(stages_.size()); }
  // Steps that are done when stage i (from 0) grows the model.
  std::int64_t stage_step(std::int64_t i) const;
  const GrowthStageConfig& stage(std::int64_t i) const;
  // Trainable parameters after so many growths.
  const WordOrList& trainable(std::int64_t stages_done) const;
  // Reports what does not fit among the stages, the batches and the data.
  void check(FieldVisitor& visit) const;
  // The model after so many growths.
  const ModelConfig& model(std::int64_t stages_done) const;

 private:
  void add_stage(const GrowthStageConfig& stage);

  ScheduleConfig schedule_;
  double peak_lr_;
  std::int64_t sequence_length_;
  TrainConfig train_;  // its batch_ramp includes the stages
  DataConfig data_;
  std::vector<GrowthStageConfig> stages_;
  std::vector<std::int64_t> steps_;
  std::vector<std::int64_t> ramp_steps_;
  std::vector<ModelConfig> models_;
};

// Reads the plans that stages name by file into them. ConfigError naming the file.
void read_plan_files(GrowthConfig& growth);

// The rules of the growth section that need the others.
void stage_rules(const RunConfig& config, FieldVisitor& visit);

}  // namespace gda
