// Group-differentiated growth: more signal heads, the same noise heads, keys and values
// (Grouped Differential Attention, arXiv 2510.06949).
#pragma once

#include <cstdint>

#include "gda/growth/growth_map.h"

namespace gda {

// Replicates every signal head `factor` times inside its group. q_proj: the head's rows are copied;
// o_proj: its columns are copied and divided by `factor`. The function does not change. Replicas
// would receive equal gradients for ever, so o_proj's copies are told apart by paired noise (+N on
// one, -N on the next; an odd one out gets none), which does not change the function either.
// ConfigError unless the attention is differential or grouped_differential and factor >= 2.
GrowthMap replicate_signal_heads(const ModelConfig& from, std::int64_t factor);

// Adds `count` new signal heads to each noise head, behind its old ones: q_proj rows from
// N(0, initializer_range^2), o_proj columns zero. The function does not change.
GrowthMap add_signal_heads(const ModelConfig& from, std::int64_t count);

}  // namespace gda
