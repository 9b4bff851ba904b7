// A model in training, as far as this rank has it: its parameters, passes, optimizer and
// checkpoints. A run that trains another model, or another part of it, makes another.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "gda/dist/mesh.h"
#include "gda/model/staged_model.h"
#include "gda/optim/optimizer.h"
#include "gda/train/run_checkpoints.h"
#include "gda/train/train_step.h"

namespace gda {

struct TrainedModelOptions {
  ModelConfig config;
  std::vector<ParameterSpec> specs;  // of the configuration's parameters
  DType compute = DType::f32;
  Recompute recompute = Recompute::none;
  LinearCrossEntropyOptions loss = {};
  OptimizerConfig optimizer = {};
  std::size_t sources = 1;  // of data
  std::filesystem::path checkpoints;
  CheckpointConfig checkpoint;
  Device device;
  // What this rank has of the model; empty: all.
  std::vector<Placement> placements = {};
  ContextMethod context_method = ContextMethod::automatic;
  ZeroStage zero_stage = ZeroStage::one;
  PipelineOptions pipeline = {};  // for a mesh of several pipeline ranks
};

struct TrainedModel {
  // Allocates everything; values are zero. `world`: all ranks, which save together and add up what
  // they count; `mesh`: the same ranks. Both must outlive it.
  TrainedModel(const TrainedModelOptions& options, Communicator& world, const Mesh& mesh);
  TrainedModel(const TrainedModel&) = delete;
  TrainedModel& operator=(const TrainedModel&) = delete;

  ParameterStore parameters;
  StagedModel model;
  GradientBuckets buckets;
  Optimizer optimizer;
  std::unique_ptr<LogitWatch> watch;  // null without optimizer.qk_clip
  TrainStep step;
  RunCheckpoints checkpoints;
};

}  // namespace gda
