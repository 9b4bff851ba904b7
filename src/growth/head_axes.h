// Growth of the axes of heads: new heads are put behind the old ones of their stripe, and new
// groups of keys and values behind the old groups, so that no old head changes what it reads.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/growth/growth_map.h"

namespace gda {

// Both configurations have the same type of heads; `to` has at least as many stripes, and heads in
// a stripe. New coordinates are filled.
AxisMap query_rows(const AttentionConfig& from, const AttentionConfig& to);
AxisMap output_columns(const AttentionConfig& from, const AttentionConfig& to);
// differential_v2's lambda_proj: one row a head.
AxisMap lambda_rows(const AttentionConfig& from, const AttentionConfig& to);

// An axis whose new coordinates lie at its end.
AxisMap extended(std::int64_t size, std::int64_t new_size, double scale = 1,
                 double gradient_scale = 1);

// The new coordinates of an axis.
std::vector<IndexRange> filled_ranges(const AxisMap& map);

}  // namespace gda
