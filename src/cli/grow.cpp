// gda grow: makes a trained model bigger. Each operator is a subcommand whose options are its
// fields; a plan does several at once.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/device_option.h"
#include "cli/field_options.h"
#include "cli/grown_run.h"
#include "cli/growth_report.h"
#include "cli/options.h"
#include "cli/ranks.h"
#include "gda/checkpoint/run_folder.h"
#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/core/output_lock.h"
#include "gda/core/shell.h"
#include "gda/growth/grow_checkpoint.h"
#include "gda/growth/growth_plan.h"
#include "gda/report/readable.h"
#include "gda/train/longer_run.h"

namespace gda::cli {
namespace {

struct GrowOptions {
  std::string from;
  std::string to;
  std::uint64_t seed = 1;
  bool dry_run = false;
  bool json = false;
  ComparisonOptions comparison;
};

// The map for a model; ConfigError that begins with the command.
using MakeMap = std::function<GrowthMap(const ModelConfig& model)>;

SavedCheckpoint write(Communicator& world, const CheckpointReader& from, const GrowthMap& map,
                      const GrowOptions& options, const RunConfig& config) {
  const RunFolder folder(options.to);
  const bool has_run = !from.run_config().empty();
  if (world.is_root()) {
    make_directories(folder.checkpoints());
    write_text_file_atomically(has_run ? folder.config() : folder.path() / "model.yaml",
                               has_run ? config.yaml() : model_section(config.model));
  }
  const RunState counters = counters_of_grown_run(from);
  return grow_checkpoint(world, from, map,
                         {.seed = options.seed,
                          .updates = counters.updates,
                          .run_config = has_run ? config.yaml() : std::string(),
                          .trainer_json = counters.json()},
                         {.directory = folder.checkpoints()});
}

void compare_models(const CheckpointReader& from, const SavedCheckpoint& saved,
                    const GrowthMap& map, const GrowOptions& options, const RunConfig& config,
                    nlohmann::ordered_json& json) {
  if (options.comparison.count == 0) return;
  const auto comparison = compare(from, CheckpointReader(saved.path), config, options.comparison);
  if (!comparison) return;
  json["exactness"] = to_json(comparison->exactness, comparison->origin);
  if (!options.json) print_exactness(map, comparison->exactness, comparison->origin);
}

// A model folder has no run that could go on.
std::string next_command(const CheckpointReader& from, const SavedCheckpoint& saved,
                         const RunConfig& config, const GrowOptions& options) {
  if (from.run_config().empty()) {
    return fmt::format("gda train RUN.yaml {}, with the model of {}",
                       shell_word("train.init_from=" + saved.path.string()),
                       shell_word((std::filesystem::path(options.to) / "model.yaml").string()));
  }
  std::string command = "gda resume " + shell_word(options.to);
  // A run that has done its steps would end at once.
  const std::int64_t step = from.step();
  if (step >= config.train.steps) {
    command += " " + settings_to_train_on(config, step);
  }
  return command;
}

int grow(Communicator& world, const GrowOptions& options, const MakeMap& make_map) {
  const CheckpointReader from = open_checkpoint_or_model(options.from, &world);
  from.check_fully_grown("another growth");
  const GrowthMap map = make_map(from.config());
  require<ConfigError>(!map.ramp || !from.run_config().empty(),
                       "--from {}: masks rise during a run, and a model folder has none; begin one "
                       "with train.init_from, and put the growth into its growth.stages",
                       options.from);
  const RunConfig config = grown_run(from, map.to, options.to);
  const GrowthReport report{.map = map,
                            .sequence_length = config.data.sequence_length,
                            .disk = disk_space(options.to, grown_bytes(from, map))};
  const bool speaks = world.is_root();
  nlohmann::ordered_json json = to_json(report);
  if (speaks && !options.json) print_page(report);
  if (!options.dry_run) {
    require_no_checkpoints(options.to);
    std::unique_ptr<OutputLock> lock;
    if (speaks) {
      lock = std::make_unique<OutputLock>(RunFolder(options.to).lock(), "--to " + options.to);
    }
    world.barrier();  // nobody looks before the one who held it until now is gone
    require_no_checkpoints(options.to);
    require_space(options.to, report.disk);
    const SavedCheckpoint saved = write(world, from, map, options, config);
    if (!speaks) return 0;
    json["checkpoint"] = saved.path.string();
    compare_models(from, saved, map, options, config, json);
    if (!options.json) {
      fmt::print("written         {} ({})\nnext            {}\n", saved.path.string(),
                 readable_bytes(static_cast<std::int64_t>(saved.bytes)),
                 next_command(from, saved, config, options));
    }
  }
  if (speaks && options.json) fmt::print("{}\n", json.dump());
  return 0;
}

int grow_on_all_ranks(const GrowOptions& options, const MakeMap& make_map) {
  // A rank may compute and write for long while others wait; mpirun ends all when one dies.
  const auto timeout = [] { return std::chrono::hours(24); };
  return run_on_all_ranks(timeout, "a tensor, its grown form and their conversion must fit",
                          [&](Communicator& world) { return grow(world, options, make_map); });
}

void add_common_options(CLI::App& command, GrowOptions& options) {
  add_path(command, "--from", options.from,
           "Checkpoint folder, run folder (its newest one), or Hugging Face model folder")
      ->required();
  add_path(command, "--to", options.to, "Folder of the run to begin")->required();
  command.add_option("--seed", options.seed, "Of noise and of new weights")->capture_default_str();
  add_path(command, "--tokens", options.comparison.tokens,
           "Dataset to compare the models on; default: the run's");
  command
      .add_option("--verify-tokens", options.comparison.count,
                  "Tokens that both models are run on; 0: no comparison")
      ->capture_default_str()
      ->check(at_least(0));
  add_device_option(command, options.comparison.device);
  command.add_flag("--dry-run", options.dry_run, "Say what would change and write nothing");
  command.add_flag("--json", options.json, "Print the report as JSON");
}

std::string command_name(std::string_view operation) {
  std::string name(operation);
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

template <class Operation>
void add_operator_command(CLI::App& app, Action& action) {
  struct Options {
    GrowOptions common;
    Operation operation;
  };
  const std::string name = command_name(Operation::kName);
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(name, std::string(Operation::kSummary));
  const FieldWalk fields = [options](FieldVisitor& visit) { options->operation.fields(visit); };
  add_field_options(*command, fields);
  add_common_options(*command, options->common);
  command->footer(
      fmt::format("Example: gda grow {} --from runs/small --to runs/grown {}\n"
                  "         gda resume runs/grown train.steps=20000 schedule.steps=20000",
                  name, Operation::kExample));
  const MakeMap make_map = [options, name, fields](const ModelConfig& model) {
    try {
      return GrowthStep{options->operation}.map(model);
    } catch (const ConfigError& error) {
      fail<ConfigError>("grow {}: {}", name, with_option_names(error.what(), fields));
    }
  };
  command->callback([options, make_map, &action] {
    action = [options, make_map] { return grow_on_all_ranks(options->common, make_map); };
  });
}

void add_plan_command(CLI::App& app, Action& action) {
  struct Options {
    GrowOptions common;
    std::string file;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("plan", "Several growths at once, as a YAML file lists them");
  add_path(*command, "file", options->file, "The plan")->required();
  add_common_options(*command, options->common);
  command->footer(
      "Example: gda grow plan configs/growth/motif-2-12.7b.yaml --from runs/motif-2.6b \\\n"
      "             --to runs/motif-2-12.7b --dry-run");
  const MakeMap make_map = [options](const ModelConfig& model) {
    const GrowthPlan plan = load_growth_plan(options->file);
    try {
      return plan.map(model);
    } catch (const ConfigError& error) {
      fail<ConfigError>("{}: {}", options->file, error.what());
    }
  };
  command->callback([options, make_map, &action] {
    action = [options, make_map] { return grow_on_all_ranks(options->common, make_map); };
  });
}

}  // namespace

void add_grow(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("grow", "Make a trained model bigger");
  command->require_subcommand(1);
  for_each_operator([&]<class Operation>(const Operation& /*operation*/) {
    add_operator_command<Operation>(*command, action);
  });
  add_plan_command(*command, action);
}

}  // namespace gda::cli
