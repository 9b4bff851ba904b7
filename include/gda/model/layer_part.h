// The part of a decoder layer that one of several tensor-parallel places computes: whole K/V groups
// with the heads that read them, and a stretch of the feed-forward units.
#pragma once

#include "gda/model/model_config.h"
#include "gda/model/placement.h"
#include "gda/model/region.h"

namespace gda {

struct LayerPart {
  AttentionConfig attention;  // counts of this place's heads; with one place, the model's
  IndexRange heads;           // of o_proj's input, among all of the model
  IndexRange units;           // of the feed-forward block, among all F
};

// One of `count` equal shares of these heads; their K/V groups divide by it.
AttentionConfig share_of(const AttentionConfig& heads, std::int64_t count);

// ConfigError, with both numbers and the nearest tensor sizes that would do, if the K/V groups or
// the units do not divide by placement.tensor_size, or the vocabulary has fewer entries than that.
LayerPart layer_part(const ModelConfig& config, const Placement& placement);

}  // namespace gda
