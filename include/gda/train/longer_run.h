// A run that becomes longer or shorter than it was: schedules are laid out over the steps of a run,
// so its learning rate may move, also where the run is already.
#pragma once

#include <cstdint>
#include <string>

#include "gda/train/run_config.h"

namespace gda {

// The settings that `gda resume` needs to double the `step` steps that are done, at least to one:
// "train.steps=40", and schedule.steps where keep_schedule would keep the schedule as it was.
std::string settings_to_train_on(const RunConfig& config, std::int64_t step);

// If other train.steps, and they alone, would move the learning rate that a run has reached after
// `step` steps, since it had begun to decay, `after` keeps the schedule as it was laid out: its
// schedule.steps become those that `before` was laid out over. Returns what this comes to, with the
// command, beginning with `command` ("gda resume runs/a"), that lays the schedule out anew instead;
// empty where the schedule section is another one, or says its steps. Throws ConfigError if the
// rate would be 0 from here on.
std::string keep_schedule(const RunConfig& before, RunConfig& after, std::int64_t step,
                          const std::string& command);

}  // namespace gda
