// How many samples come before a step, with a batch size that changes from step to step.
#pragma once

#include <cstdint>

#include "gda/train/train_config.h"

namespace gda {

// Sum of the batch sizes of steps 0 ... step - 1, without walking them.
std::int64_t first_sample_of_step(const TrainConfig& config, std::int64_t step);

}  // namespace gda
