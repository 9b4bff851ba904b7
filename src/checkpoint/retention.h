// Removing checkpoints that are no longer wanted. A folder is renamed to a temporary name before
// anything in it is removed, so that one which is half removed never looks whole.
#pragma once

#include <filesystem>

#include "gda/checkpoint/checkpoint_folder.h"
#include "gda/checkpoint/checkpoint_writer.h"

namespace gda::checkpoint_internal {

// Renames a step folder to a temporary name, which remove_leftovers() takes away.
void set_aside(const std::filesystem::path& folder);

// Removes unfinished folders: temporary ones, and step folders without a manifest.
void remove_leftovers(const std::filesystem::path& directory);

// Keeps the newest options.keep_last step folders up to `newest`, and those whose step is a
// multiple of options.keep_every. Later steps are left alone. What cannot be removed is warned of.
void apply_retention(const SaveOptions& options, StepName newest);

}  // namespace gda::checkpoint_internal
