// Does a grown model compute what the old one did? Both are run on the same tokens.
#pragma once

#include <cstdint>
#include <span>

#include "gda/checkpoint/checkpoint_reader.h"

namespace gda {

struct Exactness {
  double largest_logit = 0;       // of the old model, in magnitude
  double largest_difference = 0;  // of one logit
  std::int64_t tokens = 0;
  // The largest difference over the largest logit.
  double relative() const { return largest_logit > 0 ? largest_difference / largest_logit : 0; }
};

// Runs the masters of both checkpoints in `compute` (f32 or f64) on the tokens, as one document and
// on the device; a model that is still growing with the mask of its step.
Exactness compare_logits(const CheckpointReader& before, const CheckpointReader& after,
                         std::span<const std::int32_t> tokens, DType compute, Device device = {});

}  // namespace gda
