// New coordinates behind the old ones of any axis: the geometry of zero-padding and of masked
// growth, which differ in what the new coordinates begin with.
#pragma once

#include <cstdint>
#include <optional>

#include "gda/growth/growth_map.h"

namespace gda {

// After growth; those not given stay.
struct PaddedSizes {
  std::optional<std::int64_t> hidden_size;
  std::optional<std::int64_t> intermediate_size;
  std::optional<std::int64_t> heads;            // num_attention_heads or signal_heads
  std::optional<std::int64_t> key_value_heads;  // num_key_value_heads
};

// New coordinates are filled with zeros. New heads lie behind the old ones of their stripe, new
// groups of heads behind the old groups. ConfigError if a size shrinks, or heads do not divide.
GrowthMap padded_map(const ModelConfig& from, const PaddedSizes& sizes);

}  // namespace gda
