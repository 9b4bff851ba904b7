// The run that a grown checkpoint begins: its folder, its configuration, and the comparison of the
// two models.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "cli/growth_report.h"
#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/train/run_config.h"
#include "gda/train/run_state.h"

namespace gda::cli {

// The old run's configuration with the new model and folder, and without the growth stages that are
// done. Of a model folder, which has no run: the model and defaults.
RunConfig grown_run(const CheckpointReader& from, const ModelConfig& model,
                    const std::string& directory);

// The `model` section of a configuration, as YAML.
std::string model_section(ModelConfig model);

// The trainer's counters for that run, which has done no growth stage of its own yet.
RunState counters_of_grown_run(const CheckpointReader& from);

// ConfigError if the folder holds checkpoints already.
void require_no_checkpoints(const std::string& directory);

// For writing `bytes` to a folder that may not exist yet.
DiskSpace disk_space(const std::filesystem::path& directory, std::uint64_t bytes);
// IoError that says what is needed and what there is.
void require_space(const std::string& directory, const DiskSpace& disk);

// What the models are compared on.
struct ComparisonOptions {
  std::string tokens;  // dataset; empty: the run's first source that can be read, else random
  std::int64_t count = 256;
  std::string device = "auto";
};

struct Comparison {
  Exactness exactness;
  std::string origin;
};

// Nothing, with a warning, where the bigger model does not fit into memory.
std::optional<Comparison> compare(const CheckpointReader& from, const CheckpointReader& to,
                                  const RunConfig& config, const ComparisonOptions& options);

}  // namespace gda::cli
