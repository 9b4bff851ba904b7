// A run that becomes longer or shorter than it was: schedules are laid out over the steps of a run,
// so its learning rate may move, also where the run is already.
#pragma once

#include <cstdint>
#include <string>

#include "gda/train/run_config.h"

namespace gda {

// The settings that `gda resume` needs to double the `step` steps that are done, at least to one:
// "train.steps=40", and schedule.steps where check_schedule would ask for it.
std::string settings_to_train_on(const RunConfig& config, std::int64_t step);

// Throws ConfigError if other train.steps, and they alone, move the learning rate that a run has
// reached after `step` steps: the run had begun to decay. It names both choices, schedule.steps of
// `before` and of `after`, as commands that begin with `command` ("gda resume runs/a"). Nothing to
// choose where the schedule section is another one or says its steps.
void check_schedule(const RunConfig& before, const RunConfig& after, std::int64_t step,
                    const std::string& command);

}  // namespace gda
