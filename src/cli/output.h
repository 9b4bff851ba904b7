// Outputs of commands: one writer at a time, and none is overwritten unless that is asked for.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <vector>

#include "gda/core/output_lock.h"

namespace gda::cli {

// Adds --force, which claim_output takes.
void add_force_option(CLI::App& command, bool& force);

// Locks `name`.lock for the writing of `files`. ConfigError if another process is writing there, or
// if one of them is there already and `force` is false.
std::unique_ptr<OutputLock> claim_output(const std::string& name,
                                         const std::vector<std::filesystem::path>& files,
                                         bool force);

}  // namespace gda::cli
