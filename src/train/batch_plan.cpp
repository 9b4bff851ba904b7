#include "train/batch_plan.h"

#include <algorithm>

namespace gda {

std::int64_t first_sample_of_step(const TrainConfig& config, std::int64_t step) {
  std::int64_t samples = 0;
  std::int64_t done = 0;
  for (std::size_t i = 1; i < config.batch_ramp.size() && done < step; ++i) {
    const std::int64_t end = std::min(step, config.batch_ramp[i].step);
    samples += (end - done) * config.batch_size_at(done);
    done = std::max(done, end);
  }
  return samples + (step - done) * config.batch_size_at(done);
}

}  // namespace gda
