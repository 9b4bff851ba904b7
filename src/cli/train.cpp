// gda train: a new run.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/device_option.h"
#include "cli/options.h"
#include "cli/run_training.h"

namespace gda::cli {
namespace {

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides;
  std::string device;
  RunStart start;
};

}  // namespace

void add_train(CLI::App& app, Action& action) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = app.add_subcommand("train", "Start a training run");
  add_path(*command, "CONFIG", options->config, "YAML file of the run; - for standard input")
      ->required();
  add_texts(*command, "OVERRIDES", options->overrides, "Replaced values, as key.path=value");
  command->add_flag("--accept-other-tokenizer", options->start.accept_other_tokenizer,
                    "Train although data, data.tokenizer or train.init_from are of different "
                    "tokenizers, as where two files hold the same one");
  add_run_device_option(*command, options->device);
  command->footer(
      "Example: mpirun -np 8 gda train configs/motif-2.6b.yaml train.steps=1000\n"
      "Every process is a data-parallel rank. SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU "
      "and\n"
      "train.max_minutes save and end the run with exit code 0; `gda resume` resumes it.");
  command->callback([options, &action] {
    action = [options] {
      // Read once: a pipe is empty the second time.
      std::optional<RunConfigText> text;
      return run_training(
          [&](std::int64_t ranks) {
            if (!text) text = read_run_config(options->config);
            return parse_run_config(*text, with_device(options->overrides, options->device), ranks);
          },
          options->start);
    };
  });
}

}  // namespace gda::cli
