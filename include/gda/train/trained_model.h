// What of a run is made for one model: its parameters, passes, optimizer and checkpoints. A run
// that trains another model, or another part of it, makes another.
#pragma once

#include <filesystem>
#include <vector>

#include "gda/model/decoder.h"
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
};

struct TrainedModel {
  // Allocates everything; values are zero. `world` must outlive it.
  TrainedModel(const TrainedModelOptions& options, Communicator& world)
      : parameters(options.specs, options.compute, world.size(), true, options.device),
        decoder(options.config, parameters, options.recompute, options.loss),
        buckets(parameters, world),
        optimizer(buckets, make_update_rules(options.optimizer, buckets)),
        step(decoder, buckets, optimizer, world, options.sources),
        checkpoints(options.checkpoints, options.checkpoint, world, buckets, optimizer) {}
  TrainedModel(const TrainedModel&) = delete;
  TrainedModel& operator=(const TrainedModel&) = delete;

  ParameterStore parameters;
  Decoder decoder;
  GradientBuckets buckets;
  Optimizer optimizer;
  TrainStep step;
  RunCheckpoints checkpoints;
};

}  // namespace gda
