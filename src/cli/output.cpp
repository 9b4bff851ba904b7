#include "cli/output.h"

#include "gda/core/error.h"

namespace gda::cli {
namespace {

void require_absent(const std::vector<std::filesystem::path>& files) {
  for (const std::filesystem::path& file : files) {
    require<ConfigError>(!std::filesystem::exists(file),
                         "--output: {} is already there; give --force to overwrite it, or another "
                         "name",
                         file.string());
  }
}

}  // namespace

void add_force_option(CLI::App& command, bool& force) {
  command.add_flag("--force", force, "Overwrite an output that is already there");
}

std::unique_ptr<OutputLock> claim_output(const std::string& name,
                                         const std::vector<std::filesystem::path>& files,
                                         bool force) {
  if (!force) require_absent(files);
  auto lock = std::make_unique<OutputLock>(name + ".lock", "--output " + name);
  // The one who held the lock until now may have made them.
  if (!force) require_absent(files);
  return lock;
}

}  // namespace gda::cli
