// --device of the commands that compute.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

#include "gda/core/device.h"

namespace gda::cli {

void add_device_option(CLI::App& command, std::string& device);

// The device that a command of one process was told to use: auto, cpu or cuda. ConfigError if it is
// not there.
Device chosen_device(const std::string& option);

// The same option where a run's configuration names the device already: empty by default, and one
// more override if it is given.
void add_run_device_option(CLI::App& command, std::string& device);
std::vector<std::string> with_device(std::vector<std::string> overrides, const std::string& device);

}  // namespace gda::cli
