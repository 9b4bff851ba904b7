// The whole configuration of a run: one YAML file, one section a part.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "gda/checkpoint/checkpoint_config.h"
#include "gda/config/fields.h"
#include "gda/data/data_config.h"
#include "gda/model/model_config.h"
#include "gda/optim/optimizer_config.h"
#include "gda/optim/schedule.h"
#include "gda/train/growth_config.h"
#include "gda/train/logging_config.h"
#include "gda/train/train_config.h"

namespace gda {

struct RunConfig {
  std::string run_dir;  // config, metrics, logs and checkpoints of the run
  ModelConfig model;
  DataConfig data;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  TrainConfig train;
  ParallelConfig parallel;
  PrecisionConfig precision;
  GrowthConfig growth;
  CheckpointConfig checkpoint;
  EvalConfig eval;
  LoggingConfig logging;
  WantedDevice device = WantedDevice::automatic;

  bool operator==(const RunConfig&) const = default;
  void fields(FieldVisitor& visit);

  // Checks every field and every rule within and between sections, for as many processes as one
  // model takes. Throws ConfigError with a line a problem, each beginning with the key. What
  // load_run_config returns has passed.
  void validate() const;
  // Checks that `ranks` processes are a multiple of those that one model takes, and that each batch
  // splits into micro-batches over the data-parallel ranks that this leaves. The message lists the
  // nearest numbers that do.
  void validate_for_world(std::int64_t ranks) const;

  // The resolved configuration; load_run_config reads it back equal.
  std::string yaml() const;
  // The value of one key, such as "train.steps" or "data.sources[0].path", as text. Throws
  // ConfigError for a key that there is not.
  std::string value_of(std::string_view key) const;
};

// JSON Schema of a run's configuration.
std::string run_config_schema();
// Every setting, as a page of Markdown: docs/configuration.md.
std::string run_config_reference();

// A configuration as it was written. Read once, it can be used for every number of ranks, also
// where it comes from a pipe.
struct RunConfigText {
  std::string text;
  std::string origin;  // in messages
};

// "-" is standard input. ConfigError if it cannot be read, or is empty.
RunConfigText read_run_config(const std::filesystem::path& path);

RunConfig parse_run_config(const RunConfigText& text, const std::vector<std::string>& overrides,
                           std::int64_t ranks = 0);

// Reads a file, applies "key.path=value" overrides and checks everything, the layout on `ranks`
// processes included (0: as many as one model takes), so that messages name the file and line.
// Throws ConfigError; a file that cannot be read is one, too. Growth plans that it names by file
// are read into it.
RunConfig load_run_config(const std::filesystem::path& path,
                          const std::vector<std::string>& overrides, std::int64_t ranks = 0);

}  // namespace gda
