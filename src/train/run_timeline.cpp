#include "train/run_timeline.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "gda/core/error.h"
#include "gda/train/trainable.h"

namespace gda {
namespace {

// From `step` on the value is `value`; before, what it was.
void change_at(Timeline& timeline, std::int64_t step, double value) {
  const double before = timeline.at(step - 1);
  std::erase_if(timeline.points, [&](const auto& point) { return point.step >= step - 1; });
  timeline.points.push_back({step - 1, before});
  timeline.points.push_back({step, value});
}

void change_at(TrainConfig& train, std::int64_t step, std::int64_t batch_size) {
  if (train.batch_ramp.empty()) train.batch_ramp = {{0, train.global_batch_size}};
  std::erase_if(train.batch_ramp, [&](const BatchRampPoint& point) { return point.step >= step; });
  train.batch_ramp.push_back({step, batch_size});
  train.global_batch_size = batch_size;
}

GrowthPlan plan_of(const GrowthStageConfig& stage) {
  if (!stage.plan_file.empty()) return load_growth_plan(stage.plan_file);
  return stage.plan.value_or(GrowthPlan{});
}

}  // namespace

RunTimeline::RunTimeline(const RunConfig& config)
    : schedule_(config.schedule),
      peak_lr_(config.optimizer.lr),
      sequence_length_(config.data.sequence_length),
      train_(config.train),
      data_(config.data),
      models_{config.model} {
  for (const GrowthStageConfig& stage : config.growth.stages) add_stage(stage);
}

void RunTimeline::add_stage(const GrowthStageConfig& stage) {
  std::int64_t step = stage.step.value_or(0);
  if (stage.tokens) {
    // The batch sizes up to here are settled by the stages before.
    const std::int64_t samples = (*stage.tokens + sequence_length_ - 1) / sequence_length_;
    while (first_sample(step) < samples && step < train_.steps) ++step;
  }
  stages_.push_back(stage);
  steps_.push_back(step);
  const GrowthMap map = plan_of(stage).map(models_.back());
  models_.push_back(map.to);
  ramp_steps_.push_back(map.ramp ? map.ramp->steps : 0);
  if (stage.global_batch_size) change_at(train_, step, *stage.global_batch_size);
  if (stage.weights.empty()) return;
  for (DataSourceConfig& source : data_.sources) {
    const auto named = std::find_if(stage.weights.begin(), stage.weights.end(),
                                    [&](const StageWeight& w) { return w.name == source.name; });
    if (named != stage.weights.end()) change_at(source.weight, step, named->weight);
  }
}

std::int64_t RunTimeline::first_sample(std::int64_t step) const {
  std::int64_t samples = 0;
  std::int64_t done = 0;
  for (std::size_t i = 1; i < train_.batch_ramp.size() && done < step; ++i) {
    const std::int64_t end = std::min(step, train_.batch_ramp[i].step);
    samples += (end - done) * train_.batch_size_at(done);
    done = std::max(done, end);
  }
  return samples + (step - done) * train_.batch_size_at(done);
}

double RunTimeline::learning_rate(std::int64_t step) const {
  ScheduleConfig schedule = schedule_;
  std::int64_t origin = 0;
  double rise = 1;
  for (std::size_t i = 0; i < stages_.size() && steps_[i] <= step; ++i) {
    if (stages_[i].learning_rate == StageRate::rewind) {
      origin = steps_[i];
      schedule.warmup_steps = 0;
      if (schedule_.steps) schedule.steps = *schedule_.steps - origin;
    }
    const std::int64_t rewarm = stages_[i].rewarm_steps;
    const auto since = static_cast<double>(step - steps_[i] + 1);
    rise = rewarm > 0 ? std::min(1.0, since / static_cast<double>(rewarm)) : 1.0;
  }
  return rise * gda::learning_rate(schedule, peak_lr_, train_.steps - origin, step - origin);
}

std::int64_t RunTimeline::stage_step(std::int64_t i) const {
  return steps_[static_cast<std::size_t>(i)];
}

const GrowthStageConfig& RunTimeline::stage(std::int64_t i) const {
  return stages_[static_cast<std::size_t>(i)];
}

const ModelConfig& RunTimeline::model(std::int64_t stages_done) const {
  return models_[static_cast<std::size_t>(stages_done)];
}

const WordOrList& RunTimeline::trainable(std::int64_t stages_done) const {
  for (std::int64_t i = stages_done; i-- > 0;) {
    if (stage(i).trainable.word != "keep") return stage(i).trainable;
  }
  return train_.trainable;
}

void read_plan_files(GrowthConfig& growth) {
  for (GrowthStageConfig& stage : growth.stages) {
    if (stage.plan_file.empty()) continue;
    stage.plan = plan_of(stage);
    stage.plan_file.clear();
  }
}

void RunTimeline::check(FieldVisitor& visit) const {
  const auto require_rule = [&](bool holds, std::size_t i, const std::string& message) {
    visit.rule("growth.stages", holds, fmt::format("stage {}: {}", i + 1, message));
  };
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    require_rule(steps_[i] < train_.steps, i,
                 fmt::format("begins at step {}, but train.steps is {}", steps_[i], train_.steps));
    const std::int64_t length = schedule_.length(train_.steps);
    require_rule(stages_[i].learning_rate != StageRate::rewind || steps_[i] < length, i,
                 fmt::format("learning_rate: rewind: begins at step {}, but the schedule ends at "
                             "schedule.steps, {}",
                             steps_[i], length));
    std::vector<std::string> names;
    for (const DataSourceConfig& source : data_.sources) names.push_back(source.name);
    for (const StageWeight& weight : stages_[i].weights) {
      require_rule(std::find(names.begin(), names.end(), weight.name) != names.end(), i,
                   fmt::format("\"{}\" is not the name of a data source; those are: {}",
                               weight.name, fmt::join(names, ", ")));
    }
    const std::string untrainable =
        pattern_problem(stages_[i].trainable, parameter_specs(models_[i + 1]));
    require_rule(untrainable.empty(), i, "trainable: " + untrainable);
    if (i == 0) continue;
    require_rule(steps_[i] > steps_[i - 1], i,
                 fmt::format("begins at step {}, not after the stage before, which begins at {}",
                             steps_[i], steps_[i - 1]));
    const std::int64_t end = steps_[i - 1] + ramp_steps_[i - 1];
    require_rule(steps_[i] >= end, i,
                 fmt::format("begins at step {}, while what the stage before added is still being "
                             "faded in, until step {}",
                             steps_[i], end));
  }
}

void stage_rules(const RunConfig& config, FieldVisitor& visit) {
  if (config.growth.stages.empty()) return;
  try {
    config.model.validate();
  } catch (const ConfigError&) {
    return;  // told by the rules of the model
  }
  try {
    RunTimeline(config).check(visit);
  } catch (const ConfigError& reason) {
    visit.rule("growth.stages", false, reason.what());
  }
}

}  // namespace gda
