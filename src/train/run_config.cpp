#include "gda/train/run_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/core/text.h"
#include "gda/train/trainable.h"
#include "train/layout_rules.h"
#include "train/run_timeline.h"

namespace gda {
namespace {

const std::string kReferenceHead = R"(# Configuration

<!-- Made by gda: change the fields in src/ and include/, then run
     build/cpu/gda config --reference > docs/configuration.md -->

A run is configured by one YAML file. `gda config FILE` checks it and prints it with every default, `gda config FILE
--get KEY` prints one value, and `gda config --schema` prints a JSON Schema that editors use to complete and check such
files. `gda config --reference` prints this page.

- Every setting can also be given on the command line as `key.path=value`, where the value is YAML: `train.steps=1000`,
  `data.sources[0].path=data/ko`, `'model.rope={theta: 500000}'`.
- An unknown key, a wrong type or a value outside its limits is an error that names the file, the line and the nearest
  known key. Rules that involve several keys are checked as well.
- In a path, `~` and `${NAME}` are replaced. Relative paths start from the working directory.
- A number that may move with the step is either a plain number or a list of `{step, value}` points: linear between two
  points, constant before the first and after the last.
- A plan file (`gda grow plan FILE`, `plan_file`) has the keys of
  [growth.stages[].plan](#growthstagesplan) at its top. `gda grow` takes the keys of an operator as options, with `-`
  in place of `_`.

## Top level
)";

std::vector<std::string> source_names(const DataConfig& data) {
  std::vector<std::string> names;
  for (const DataSourceConfig& source : data.sources) names.push_back(source.name);
  return names;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void source_rules(const RunConfig& config, FieldVisitor& visit) {
  const std::vector<std::string> names = source_names(config.data);
  visit.rule("data.sources", !names.empty(),
             "empty; give at least one {name: ..., path: ..., weight: ...}");
  for (auto name = names.begin(); name != names.end(); ++name) {
    visit.rule("data.sources", std::find(names.begin(), name, *name) == name,
               fmt::format("two sources are named \"{}\"; names tell them apart in logs and draws",
                           *name));
  }
  for (const std::string& name : config.eval.sources) {
    visit.rule("eval.sources", contains(names, name),
               fmt::format("\"{}\" is not the name of a data source; those are: {}", name,
                           fmt::join(names, ", ")));
  }
}

// What is wrong with train.trainable for this model; a model that is wrong itself is told of
// elsewhere.
std::string trainable_problem(const RunConfig& config) {
  if (config.train.trainable.list.empty()) return {};
  try {
    config.model.validate();
  } catch (const ConfigError&) {
    return {};
  }
  return pattern_problem(config.train.trainable, parameter_specs(config.model));
}

// Rules between sections.
void section_rules(const RunConfig& config, FieldVisitor& visit) {
  source_rules(config, visit);
  visit.rule("data.sequence_length",
             config.data.sequence_length <= config.model.max_position_embeddings,
             fmt::format("{} is longer than model.max_position_embeddings, which is {}",
                         config.data.sequence_length, config.model.max_position_embeddings));
  const std::int64_t schedule_steps = config.schedule.length(config.train.steps);
  visit.rule("schedule.warmup_steps", config.schedule.warmup_steps <= schedule_steps,
             fmt::format("{} are more than {}, which is {}", config.schedule.warmup_steps,
                         config.schedule.steps ? "schedule.steps" : "train.steps", schedule_steps));
  const std::string untrainable = trainable_problem(config);
  visit.rule("train.trainable", untrainable.empty(), untrainable);
  visit.rule("data.tokenizer",
             config.train.sample.every_steps == 0 || !config.data.tokenizer.empty(),
             "empty, but train.sample.every_steps asks for samples of text; give a tokenizer");
  visit.rule("data.validation_fraction",
             config.eval.every_steps == 0 || config.data.validation_fraction > 0,
             "0 leaves nothing to evaluate; give a share, or set eval.every_steps to 0");
  stage_rules(config, visit);
  layout_rules(config, visit);
}

}  // namespace

void RunConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "run_dir",
               .doc = "folder of the run: configuration, metrics, logs and checkpoints",
               .required = true,
               .is_path = true,
               .formerly = "logging.dir"},
              run_dir);
  visit.nested({.key = "model", .doc = "architecture of the model", .required = true}, model);
  visit.nested({.key = "data", .doc = "training data", .required = true}, data);
  visit.nested({.key = "optimizer", .doc = "update rule and its settings"}, optimizer);
  visit.nested({.key = "schedule", .doc = "learning-rate schedule"}, schedule);
  visit.nested({.key = "train", .doc = "duration, batches, and what is trained", .required = true},
               train);
  visit.nested({.key = "parallel", .doc = "how work is distributed over processes"}, parallel);
  visit.nested({.key = "precision", .doc = "number formats"}, precision);
  visit.nested({.key = "growth", .doc = "growth of the model during the run"}, growth);
  visit.nested({.key = "checkpoint", .doc = "when checkpoints are saved, and which are kept"},
               checkpoint);
  visit.nested({.key = "eval", .doc = "evaluation on validation data during training"}, eval);
  visit.nested({.key = "logging", .doc = "what is reported, and how often"}, logging);
  visit.field(
      {.key = "device", .doc = "device to compute on; auto: GPUs if every process finds one"},
      device);
  section_rules(*this, visit);
}

void RunConfig::validate() const {
  RunConfig copy = *this;
  check_fields("", [&](FieldVisitor& visit) {
    copy.fields(visit);
    world_rules(*this, visit, 0);
  });
}

void RunConfig::validate_for_world(std::int64_t ranks) const {
  check_fields("", [&](FieldVisitor& visit) { world_rules(*this, visit, ranks); });
}

std::string RunConfig::yaml() const {
  RunConfig copy = *this;
  return to_yaml([&](FieldVisitor& visit) { copy.fields(visit); });
}

std::string RunConfig::value_of(std::string_view key) const {
  RunConfig copy = *this;
  return value_at(key, [&](FieldVisitor& visit) { copy.fields(visit); });
}

std::string run_config_schema() {
  RunConfig preset;
  return to_json_schema("gda run configuration",
                        [&](FieldVisitor& visit) { preset.fields(visit); });
}

std::string run_config_reference() {
  RunConfig preset;
  return kReferenceHead + to_reference([&](FieldVisitor& visit) { preset.fields(visit); });
}

RunConfigText read_run_config(const std::filesystem::path& path) {
  RunConfigText read{.text = {}, .origin = path == "-" ? "standard input" : path.string()};
  try {
    read.text = read_text_input(path);
  } catch (const IoError& error) {
    fail<ConfigError>("configuration: {}", error.what());
  }
  // mpirun gives its standard input to the first rank alone, and pipes to none.
  require<ConfigError>(read.text.find_first_not_of(" \t\r\n") != std::string::npos,
                       "configuration: {} is empty{}", read.origin,
                       std::filesystem::is_regular_file(path)
                           ? ""
                           : "; a pipe can be read by one process, once: use a file with mpirun "
                             "and srun");
  return read;
}

RunConfig parse_run_config(const RunConfigText& text, const std::vector<std::string>& overrides,
                           std::int64_t ranks) {
  RunConfig config;
  read_yaml(text.text, text.origin, overrides, [&](FieldVisitor& visit) {
    config.fields(visit);
    world_rules(config, visit, ranks);
  });
  read_plan_files(config.growth);
  return config;
}

RunConfig load_run_config(const std::filesystem::path& path,
                          const std::vector<std::string>& overrides, std::int64_t ranks) {
  return parse_run_config(read_run_config(path), overrides, ranks);
}

}  // namespace gda
