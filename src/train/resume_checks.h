// Validation of a resumed run's changes since its checkpoint, and the log's notes on them.
#pragma once

#include <cstdint>
#include <string>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/train/run.h"
#include "gda/train/run_state.h"
#include "gda/train/trainer.h"

namespace gda {

// ConfigError if a setting that was changed since the checkpoint has no effect any more.
void check_settings(const Run& run, const RunState& state, const CheckpointReader& reader);

// A run that had begun to decay goes on as its schedule was laid out, unless it is said otherwise.
// Returns what is to be told of it, once there is a log.
std::string keep_decay(Run& run, std::int64_t step, const CheckpointReader& reader,
                       const ResumePoint& point);

// Warns where a schedule that was changed in its middle begins at quite another rate.
void tell_jump_of_rate(const Run& run, std::int64_t step, const CheckpointReader& reader);

// Marks the healthy checkpoints that are newer than this one as unhealthy: the run has left their
// way.
void leave_newer(const Run& run, const CheckpointReader& reader);

}  // namespace gda
