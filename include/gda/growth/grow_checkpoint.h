// Growing a checkpoint on disk: tensor by tensor, so that memory is needed for one tensor at a
// time, not for a model.
#pragma once

#include <string>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/checkpoint/checkpoint_writer.h"
#include "gda/dist/communicator.h"
#include "gda/growth/growth_map.h"

namespace gda {

// Writes `from`, carried through the map, as a checkpoint of the same step: parameters, and masters
// and Adam moments where `from` has them; its counters stay. Values are computed in f32 (f64 for a
// checkpoint in f64) from the masters and stored in the type that they had. Ranks share the work.
// `run_config`: the new run's YAML. Throws FormatError if the map is for another model, IoError if
// it cannot be written. Collective.
SavedCheckpoint grow_checkpoint(Communicator& group, const CheckpointReader& from,
                                const GrowthMap& map, const GrowthNoise& noise,
                                const SaveOptions& options, const std::string& run_config);

}  // namespace gda
