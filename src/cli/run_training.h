// What `gda train` and `gda resume` share: processes, configuration, the run, its ending.
#pragma once

#include <cstdint>
#include <functional>

#include "gda/train/run_config.h"

namespace gda::cli {

enum class RunStart { begin, resume };

// `load` gives the configuration, checked for a number of ranks. Returns the exit code.
int run_training(const std::function<RunConfig(std::int64_t ranks)>& load, RunStart start);

}  // namespace gda::cli
