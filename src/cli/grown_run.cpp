#include "cli/grown_run.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <vector>

#include "cli/device_option.h"
#include "gda/checkpoint/run_folder.h"
#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/memory.h"
#include "gda/core/philox.h"
#include "gda/data/token_dataset.h"
#include "gda/report/readable.h"
#include "gda/train/run_state.h"

namespace gda::cli {
namespace {

struct Sample {
  std::vector<std::int32_t> tokens;
  std::string origin;
};

Sample read_sample(const std::string& path, std::int64_t vocabulary, std::int64_t count) {
  const auto datasets = open_token_datasets(path, vocabulary);
  Sample sample;
  sample.tokens.resize(static_cast<std::size_t>(std::min(count, datasets.front()->size())));
  datasets.front()->read(0, sample.tokens);
  sample.origin = datasets.front()->path().string();
  return sample;
}

Sample random_sample(std::int64_t vocabulary, std::int64_t count) {
  const Philox random(1, RandomPurpose::sampling, "exactness");
  Sample sample;
  for (std::int64_t i = 0; i < count; ++i) {
    sample.tokens.push_back(static_cast<std::int32_t>(random.bits(static_cast<std::uint64_t>(i)) %
                                                      static_cast<std::uint64_t>(vocabulary)));
  }
  sample.origin = "random tokens (no dataset of the run could be read)";
  return sample;
}

Sample sample_for(const RunConfig& config, const ComparisonOptions& options) {
  const std::int64_t vocabulary = config.model.vocab_size;
  const std::int64_t count = std::min(options.count, config.model.max_position_embeddings);
  if (!options.tokens.empty()) return read_sample(options.tokens, vocabulary, count);
  for (const DataSourceConfig& source : config.data.sources) {
    try {
      return read_sample(source.path, vocabulary, count);
    } catch (const Error& reason) {
      log::warning("the models are not compared on source {}: {}", source.name, reason.what());
    }
  }
  return random_sample(vocabulary, count);
}

// What the system could give to a process; without limit where it does not tell.
std::int64_t available_memory() {
  std::ifstream stream("/proc/meminfo");
  std::string key;
  std::string rest;
  while (stream >> key) {
    std::int64_t kilobytes = 0;
    if (key == "MemAvailable:" && stream >> kilobytes) return kilobytes * 1024;
    std::getline(stream, rest);
  }
  return std::numeric_limits<std::int64_t>::max();
}

RunState run_state_of(const CheckpointReader& from) {
  return parse_run_state(from.trainer_json(), (from.path() / "trainer.json").string());
}

}  // namespace

RunState counters_of_grown_run(const CheckpointReader& from) {
  RunState state = from.trainer_json().empty() ? RunState{} : run_state_of(from);
  state.stages_done = 0;
  return state;
}

RunConfig grown_run(const CheckpointReader& from, const ModelConfig& model,
                    const std::string& directory) {
  if (from.run_config().empty()) {
    RunConfig alone;
    alone.model = model;
    alone.data.sequence_length =
        std::min(alone.data.sequence_length, model.max_position_embeddings);
    return alone;
  }
  RunConfig config = load_run_config(from.path() / kRunConfigFile, {});
  config.model = model;
  // The stages that the old run has done made its model what it is.
  auto& stages = config.growth.stages;
  const auto done = static_cast<std::size_t>(run_state_of(from).stages_done);
  stages.erase(stages.begin(),
               stages.begin() + static_cast<std::ptrdiff_t>(std::min(done, stages.size())));
  config.run_dir = directory;
  config.validate();
  return config;
}

std::string model_section(ModelConfig model) {
  return to_yaml([&](FieldVisitor& visit) {
    visit.nested({.key = "model", .doc = "what the model is made of"}, model);
  });
}

void require_no_checkpoints(const std::string& directory) {
  const auto existing = list_step_folders(RunFolder(directory).checkpoints());
  require<ConfigError>(existing.empty(),
                       "--to {}: the folder already holds checkpoints; choose another", directory);
}

DiskSpace disk_space(const std::filesystem::path& directory, std::uint64_t bytes) {
  std::error_code ignored;
  std::filesystem::path existing = std::filesystem::absolute(directory);
  while (!std::filesystem::exists(existing, ignored) && existing.has_relative_path()) {
    existing = existing.parent_path();
  }
  const std::filesystem::space_info space = std::filesystem::space(existing, ignored);
  return {.needed = bytes, .free = space.available};
}

void require_space(const std::string& directory, const DiskSpace& disk) {
  require<IoError>(disk.needed <= disk.free,
                   "--to {}: the grown checkpoint needs {} ({} bytes), its disk has {} free ({} "
                   "bytes); make room, or choose another folder",
                   directory, readable_bytes(static_cast<std::int64_t>(disk.needed)), disk.needed,
                   readable_bytes(static_cast<std::int64_t>(disk.free)), disk.free);
}

std::optional<Comparison> compare(const CheckpointReader& from, const CheckpointReader& to,
                                  const RunConfig& config, const ComparisonOptions& options) {
  const Device device = chosen_device(options.device);
  const std::int64_t needed = 4 * parameter_count(to.config());
  const bool is_host = device.type == DeviceType::cpu;
  try {
    if (is_host && needed > available_memory()) throw OutOfMemory(needed, device, "the new model");
    const Sample sample = sample_for(config, options);
    return Comparison{.exactness = compare_logits(from, to, sample.tokens, DType::f32, device),
                      .origin = sample.origin};
  } catch (const OutOfMemory& error) {
    log::warning("the models are not compared ({}); the tests of gda compare small ones",
                 error.what());
    return std::nullopt;
  }
}

}  // namespace gda::cli
