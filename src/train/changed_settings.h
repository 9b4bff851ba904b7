// Differences between the configuration of a checkpoint and that of the run that goes on.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace gda {

// Values by dotted path ("train.steps", "data.sources.0.name"), as YAML; short lists are one value.
using Settings = std::map<std::string, std::string>;
Settings flat_settings(std::string_view yaml);

// Lines "train.steps: 1000 -> 2000" for two resolved configurations as RunConfig::yaml writes them.
// Settings that change nothing of the training (where logs go, how often) are left out.
std::vector<std::string> changed_settings(std::string_view before, std::string_view after);

// Lines "train.seed: 1 -> 2: why" for what is different and would have no effect on a run that goes
// on after `stages_done` growth stages. A setting that the older configuration did not know is
// none.
std::vector<std::string> settings_without_effect(std::string_view before, std::string_view after,
                                                 std::int64_t stages_done);

}  // namespace gda
