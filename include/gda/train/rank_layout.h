// Which part of a model each rank of a run holds: the configuration's `parallel` section, applied.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/model/placement.h"
#include "gda/train/train_config.h"

namespace gda {

// All stages of a model, parallel.pipeline * parallel.virtual_stages, in forward order: by
// parallel.stage_layers if it says how many layers each has, else cut_into_stages. ConfigError if
// the model has fewer layers than stages, or stage_layers does not add up to its layers.
std::vector<Stage> pipeline_stages(const ModelConfig& model, const ParallelConfig& parallel);

// The places that the ranks with these coordinates hold, one for each virtual stage: chunk c of
// pipeline rank p is stage c * parallel.pipeline + p (pipeline_schedule.h).
std::vector<Placement> rank_layout(const ModelConfig& model, const ParallelConfig& parallel,
                                   std::int64_t pipeline, std::int64_t tensor);

}  // namespace gda
