// Shared part of `gda train` and `gda resume`: processes, configuration, the run, its ending.
#pragma once

#include <cstdint>
#include <functional>
#include <variant>

#include "gda/train/trainer.h"

namespace gda::cli {

// `load` gives the configuration, checked for a number of ranks. Begins a run, or goes on with one.
// Returns the exit code.
int run_training(const std::function<RunConfig(std::int64_t ranks)>& load,
                 const std::variant<RunStart, ResumePoint>& from);

}  // namespace gda::cli
