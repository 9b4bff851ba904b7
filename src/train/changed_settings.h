// What is different between the configuration of a checkpoint and that of the run that goes on.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gda {

// Lines "train.steps: 1000 -> 2000" for two resolved configurations as RunConfig::yaml writes them.
// Settings that change nothing of the training (where logs go, how often) are left out.
std::vector<std::string> changed_settings(std::string_view before, std::string_view after);

}  // namespace gda
