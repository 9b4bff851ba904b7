// Step counts of grown regions, carried through a growth.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/growth/growth_map.h"
#include "gda/model/growth_state.h"

namespace gda {

// The origins of the new model: copies keep theirs, what is filled or begins with fresh moments
// begins at `now` (updates that the run has done).
std::vector<UpdateOrigin> carry_origins(const GrowthMap& map,
                                        const std::vector<UpdateOrigin>& origins, std::int64_t now);

}  // namespace gda
