// gda resume: goes on with a run.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/device_option.h"
#include "cli/options.h"
#include "cli/run_training.h"
#include "gda/core/error.h"

namespace gda::cli {
namespace {

struct ResumeOptions {
  std::string directory;
  std::vector<std::string> overrides;
  std::string device;
};

RunConfig load(const ResumeOptions& options, std::int64_t ranks) {
  const std::filesystem::path file = std::filesystem::path(options.directory) / "config.yaml";
  require<ConfigError>(std::filesystem::exists(file),
                       "{} is not a run folder: it has no config.yaml", options.directory);
  RunConfig config = load_run_config(file, with_device(options.overrides, options.device), ranks);
  // The folder may have been moved or copied since it was written.
  config.logging.dir = options.directory;
  return config;
}

}  // namespace

void add_resume(CLI::App& app, Action& action) {
  auto options = std::make_shared<ResumeOptions>();
  CLI::App* command =
      app.add_subcommand("resume", "Go on with a run from its newest whole checkpoint");
  add_path(*command, "RUN_DIR", options->directory, "Folder of the run (logging.dir)")->required();
  add_texts(*command, "OVERRIDES", options->overrides, "Replaced values, as key.path=value");
  add_run_device_option(*command, options->device);
  command->footer(
      "Example: mpirun -np 4 gda resume runs/my-run train.steps=20000\n"
      "Any number of processes may go on, whatever number began; the samples stay the same.");
  command->callback([options, &action] {
    action = [options] {
      return run_training([&](std::int64_t ranks) { return load(*options, ranks); },
                          RunStart::resume);
    };
  });
}

}  // namespace gda::cli
