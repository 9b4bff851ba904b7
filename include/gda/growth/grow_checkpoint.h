// Growing a checkpoint on disk: tensor by tensor, so that memory is needed for one tensor at a
// time, not for a model.
#pragma once

#include <cstdint>
#include <string>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/checkpoint/checkpoint_writer.h"
#include "gda/dist/communicator.h"
#include "gda/growth/growth_map.h"

namespace gda {

// What belongs to the run that goes on with the grown model.
struct GrownRun {
  std::uint64_t seed = 1;         // of noise and fills
  std::int64_t updates = 0;       // of the optimizer that `from` has seen (RunState::updates)
  std::string run_config = {};    // YAML
  std::string trainer_json = {};  // the trainer's counters
  bool same_run = false;          // `from` is the first checkpoint of its step in the same run
};

// Writes `from`, carried through the map, as a checkpoint of the same step: parameters, and masters
// and moments where `from` has them; the update counts of what is new begin at run.updates, and a
// masked map leaves its ramp (growth_state.h), beginning at this step. Values are computed in f32
// (f64 for a checkpoint in f64) from the masters and stored in the type that they had. Ranks share
// the work: each computes its rows of every tensor's state, from what it reads of the old ones
// (whole ones for noise, and where a plan of several steps changes a tensor more than once), and
// model files are cut so that each rank writes some, up to 256 files. The tensors do not depend on
// the number of ranks. Throws FormatError if the map is for another model, ConfigError in mid-ramp,
// IoError if it cannot be written. Collective.
SavedCheckpoint grow_checkpoint(Communicator& group, const CheckpointReader& from,
                                const GrowthMap& map, const GrownRun& run,
                                const SaveOptions& options);

// Bytes of the tensors that grow_checkpoint writes.
std::uint64_t grown_bytes(const CheckpointReader& from, const GrowthMap& map);

}  // namespace gda
