// gda resume: goes on with a run.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/device_option.h"
#include "cli/options.h"
#include "cli/run_training.h"
#include "gda/checkpoint/run_folder.h"
#include "gda/core/error.h"

namespace gda::cli {
namespace {

struct ResumeOptions {
  std::string directory;
  std::vector<std::string> overrides;
  std::string device;
  ResumePoint point;
};

// A run_dir that was given is that of the run, or there is none that would be written to.
void check_folder(const ResumeOptions& options, const std::filesystem::path& file,
                  const RunConfig& config) {
  if (options.overrides.empty()) return;
  const auto place = [](const std::string& path) {
    return (std::filesystem::weakly_canonical(path) / "").lexically_normal();
  };
  const std::string& given = config.run_dir;
  if (place(given) == place(options.directory)) return;
  require<ConfigError>(given == load_run_config(file, {}).run_dir,
                       "run_dir: {}: a run resumes in its own folder, {}; copy that folder "
                       "and resume the copy, or begin a new run from it with train.init_from",
                       given, options.directory);
}

RunConfig load(const ResumeOptions& options, std::int64_t ranks) {
  const std::filesystem::path file = RunFolder(options.directory).config();
  require<ConfigError>(std::filesystem::exists(file),
                       "{} is not a run folder: it has no config.yaml", options.directory);
  RunConfig config = load_run_config(file, with_device(options.overrides, options.device), ranks);
  check_folder(options, file, config);
  // The folder may have been moved or copied since it was written.
  config.run_dir = options.directory;
  return config;
}

// A checkpoint of a run names the run and the step.
void take_checkpoint_for_run(ResumeOptions& options) {
  const std::filesystem::path given = options.directory;
  const std::filesystem::path path = given.has_filename() ? given : given.parent_path();
  const std::filesystem::path checkpoints = path.parent_path();
  if (checkpoints != RunFolder(checkpoints.parent_path()).checkpoints()) return;
  for (const StepFolder& folder : list_step_folders(checkpoints)) {
    if (folder.path.filename() != path.filename()) continue;
    require<ConfigError>(!options.point.step || *options.point.step == folder.name.step,
                         "--step {}, but {} is another step's", options.point.step.value_or(0),
                         options.directory);
    options.directory = checkpoints.parent_path().string();
    if (options.directory.empty()) options.directory = ".";
    options.point.step = folder.name.step;
    return;
  }
}

}  // namespace

void add_resume(CLI::App& app, Action& action) {
  auto options = std::make_shared<ResumeOptions>();
  CLI::App* command =
      app.add_subcommand("resume", "Resume a run from its newest healthy checkpoint");
  add_path(*command, "RUN_DIR", options->directory,
           "Folder of the run (run_dir), or one of its checkpoints")
      ->required();
  add_texts(*command, "OVERRIDES", options->overrides, "Replaced values, as key.path=value");
  command
      ->add_option("--step", options->point.step,
                   "Resume from the checkpoint of this step, healthy or not; newer ones are left "
                   "behind")
      ->check(at_least(0));
  command
      ->add_option("--skip-steps", options->point.skip_steps,
                   "Leave out the samples of so many of the coming steps, such as bad ones")
      ->check(at_least(0));
  command->add_flag(
      "--accept-changed-data", options->point.accept_changed_data,
      "Resume although the data, or its tokenizer, is not what it was: samples taken of "
      "a source count as taken of the new one");
  add_run_device_option(*command, options->device);
  command->footer(
      "Example: mpirun -np 4 gda resume runs/my-run\n"
      "         mpirun -np 4 gda resume runs/my-run train.steps=20000 schedule.steps=20000\n"
      "Any number of processes may resume, whatever number began; the samples stay the same.");
  command->callback([options, &action] {
    action = [options] {
      take_checkpoint_for_run(*options);
      return run_training([&](std::int64_t ranks) { return load(*options, ranks); },
                          options->point);
    };
  });
}

}  // namespace gda::cli
