// A model in training: its parameters, passes, optimizer and checkpoints. A run that trains another
// model, or another part of it, makes another.
#pragma once

#include <filesystem>
#include <memory>
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
  // Allocates everything; values are zero. Both groups must outlive it. `world`: all ranks, which
  // save together. `replicas`: those that share the optimizer's state and the samples.
  TrainedModel(const TrainedModelOptions& options, Communicator& world, Communicator& replicas)
      : parameters(options.specs, options.compute, replicas.size(), true, options.device),
        decoder(options.config, parameters, options.recompute, options.loss),
        buckets(parameters, replicas),
        optimizer(buckets, make_update_rules(options.optimizer, buckets)),
        watch(make_logit_watch(options.optimizer.qk_clip, options.config, parameters, replicas)),
        step(decoder, buckets, optimizer, replicas, options.sources, watch.get()),
        checkpoints(options.checkpoints, options.checkpoint, world, options.specs, buckets,
                    optimizer) {}
  TrainedModel(const TrainedModel&) = delete;
  TrainedModel& operator=(const TrainedModel&) = delete;

  ParameterStore parameters;
  Decoder decoder;
  GradientBuckets buckets;
  Optimizer optimizer;
  std::unique_ptr<LogitWatch> watch;  // null without optimizer.qk_clip
  TrainStep step;
  RunCheckpoints checkpoints;
};

}  // namespace gda
