// What of a run is made for one model: its parameters, passes, optimizer and checkpoints. A run
// that trains another model, or another part of it, makes another.
#pragma once

#include <filesystem>
#include <vector>

#include "gda/model/decoder.h"
#include "gda/optim/sharded_adamw.h"
#include "gda/train/run_checkpoints.h"
#include "gda/train/train_step.h"

namespace gda {

struct TrainedModelOptions {
  ModelConfig config;
  std::vector<ParameterSpec> specs;  // of the configuration's parameters
  DType compute = DType::f32;
  Recompute recompute = Recompute::none;
  LinearCrossEntropyOptions loss = {};
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
        optimizer(parameters, world),
        step(decoder, optimizer, world, options.sources),
        checkpoints(options.checkpoints, options.checkpoint, world, parameters, optimizer) {}
  TrainedModel(const TrainedModel&) = delete;
  TrainedModel& operator=(const TrainedModel&) = delete;

  ParameterStore parameters;
  Decoder decoder;
  ShardedAdamW optimizer;
  TrainStep step;
  RunCheckpoints checkpoints;
};

}  // namespace gda
