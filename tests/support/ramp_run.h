// A run in the middle of masked growth: the tiny run of tiny_run.h, a part of whose model is new.
#pragma once

#include "gda/core/file.h"
#include "gda/train/run_checkpoints.h"
#include "support/tiny_run.h"

namespace gda::test {

// What of tiny_config("grouped_differential") is new: a part of each axis.
inline GrowthRamp tiny_ramp(std::int64_t first_step, std::int64_t steps) {
  GrowthRamp ramp;
  ramp.from = tiny_config("grouped_differential");
  ramp.from.hidden_size = 8;
  ramp.from.intermediate_size = 14;
  ramp.from.num_hidden_layers = 1;
  ramp.from.attention.signal_heads = 4;
  ramp.mask = {.hidden = {{8, 12}},
               .feed_forward = {{14, 20}},
               .heads = {{2, 3}, {5, 6}},
               .layers = {{1, 2}}};
  ramp.first_step = first_step;
  ramp.steps = steps;
  return ramp;
}

// Writes the checkpoint of step `step` of a run that has only been initialised, with the ramp, and
// the run's config.yaml. Collective.
inline void write_ramp_checkpoint(Communicator& world, const RunConfig& config,
                                  const GrowthRamp& ramp, std::int64_t step) {
  ParameterStore parameters(parameter_specs(config.model), config.precision.compute_type(),
                            world.size(), true);
  GradientBuckets buckets(parameters, world);
  Optimizer optimizer(buckets, make_update_rules({}, buckets));
  Arena arena;
  const Context context{Stream{}, arena};
  parameters.initialize(static_cast<std::uint64_t>(config.train.seed));
  optimizer.copy_masters_from_values(context);
  const std::filesystem::path directory = config.run_dir;
  RunCheckpoints checkpoints(directory / "checkpoints", config.checkpoint, world,
                             parameters.specs(), buckets, optimizer);
  RunState state;
  state.step = step;
  state.samples = step * config.train.global_batch_size;
  state.updates = step;
  GrowthState growth;
  growth.ramp = ramp;
  if (world.rank() == 0) {
    make_directories(directory / "checkpoints");
    write_text_file_atomically(directory / "config.yaml", config.yaml());
  }
  world.barrier();
  checkpoints.save(
      context,
      {.model = config.model, .state = state, .growth = growth, .run_config = config.yaml()}, true);
}

}  // namespace gda::test
