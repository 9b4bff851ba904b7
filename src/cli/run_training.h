// What `gda train` and `gda resume` share: processes, configuration, the run, its ending.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "gda/train/trainer.h"

namespace gda::cli {

// `load` gives the configuration, checked for a number of ranks. Begins a run, or goes on at a
// point. Returns the exit code.
int run_training(const std::function<RunConfig(std::int64_t ranks)>& load,
                 const std::optional<ResumePoint>& resume_at);

}  // namespace gda::cli
