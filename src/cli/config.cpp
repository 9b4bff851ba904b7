// gda config: shows what a configuration comes to.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/options.h"
#include "gda/core/error.h"
#include "gda/report/metrics_page.h"
#include "gda/train/memory_estimate.h"
#include "gda/train/run_config.h"

namespace gda::cli {
namespace {

struct ConfigOptions {
  std::string file;
  std::vector<std::string> overrides;
  std::int64_t ranks = 0;
  std::string get;
  bool schedule = false;
  bool schema = false;
  bool reference = false;
  bool metrics = false;
};

std::string text_of(const ConfigOptions& options) {
  if (options.schema) return run_config_schema() + "\n";
  if (options.reference) return run_config_reference();
  if (options.metrics) return metrics_page();
  const RunConfig config = load_run_config(options.file, options.overrides, options.ranks);
  if (!options.get.empty()) return config.value_of(options.get) + "\n";
  if (options.ranks > 0) return layout_page(config, options.ranks, options.schedule);
  return config.yaml();
}

int run_config_command(const ConfigOptions& options) {
  const int pages = int{options.schema} + int{options.reference} + int{options.metrics};
  require<ConfigError>(
      pages > 0 || !options.file.empty(),
      "gda config: CONFIG is missing; give a YAML file, --schema, --reference or --metrics");
  require<ConfigError>(pages == 0 || (pages == 1 && options.file.empty() && options.get.empty()),
                       "gda config: --schema, --reference and --metrics each print a page of their "
                       "own; give one of them, without CONFIG and --get");
  require<ConfigError>(!options.schedule || (options.ranks > 0 && options.get.empty()),
                       "gda config: --schedule is drawn for a number of processes; give --ranks, "
                       "too, and no --get");
  const std::string text = text_of(options);
  const bool is_written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  require<IoError>(is_written && std::fflush(stdout) == 0,
                   "gda config: cannot write to standard output");
  return 0;
}

}  // namespace

void add_config(CLI::App& app, Action& action) {
  auto options = std::make_shared<ConfigOptions>();
  CLI::App* command =
      app.add_subcommand("config", "Check a configuration and print it with every default");
  add_path(*command, "CONFIG", options->file, "YAML file; - for standard input");
  add_texts(*command, "OVERRIDES", options->overrides, "Replaced values, as key.path=value");
  command
      ->add_option("--ranks", options->ranks,
                   "Check the layout on this many processes and print it instead: the mesh, "
                   "estimates of the memory that the fullest process takes and of the bytes that "
                   "processes send")
      ->check(at_least(1));
  command->add_flag("--schedule", options->schedule,
                    "With --ranks: also draw what the pipeline's processes do, and when");
  command->add_option("--get", options->get,
                      "Print the value of this key alone, as text for a script: run_dir, "
                      "train.steps, data.sources[0].path");
  command->add_flag("--schema", options->schema,
                    "Print the JSON Schema of configurations instead, for editors");
  command->add_flag("--reference", options->reference,
                    "Print a page of all settings instead: type, default, meaning");
  command->add_flag("--metrics", options->metrics,
                    "Print what the fields of metrics.jsonl mean instead (docs/metrics.md)");
  command->footer(
      "Example: gda config configs/quickstart.yaml train.steps=1000\n"
      "         gda config configs/quickstart.yaml --get run_dir\n"
      "         gda config configs/motif-2-12.7b.yaml --ranks 64 --schedule\n"
      "         gda config --schema > gda.schema.json");
  command->callback(
      [options, &action] { action = [options] { return run_config_command(*options); }; });
}

}  // namespace gda::cli
