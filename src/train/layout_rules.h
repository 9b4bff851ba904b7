// Whether a model, its sequences and its batches can be cut over ranks as a configuration says.
#pragma once

#include <cstdint>

#include "gda/train/run_config.h"

namespace gda {

// The rules that no number of ranks changes: of the model and of those that growth stages make.
void layout_rules(const RunConfig& config, FieldVisitor& visit);

// The rules for so many ranks, all axes together; 0: for those of one model.
void world_rules(const RunConfig& config, FieldVisitor& visit, std::int64_t ranks);

}  // namespace gda
