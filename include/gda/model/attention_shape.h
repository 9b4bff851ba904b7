// Mapping of query heads to key and value heads, for each type of attention.
#pragma once

#include "gda/model/model_config.h"
#include "gda/ops/attention.h"

namespace gda {

// Heads, widths and head maps; batch and lengths are the caller's.
AttentionShape attention_shape(const AttentionConfig& config);

}  // namespace gda
