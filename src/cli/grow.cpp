// gda grow: makes a trained model bigger.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/core/log.h"
#include "gda/core/philox.h"
#include "gda/data/token_dataset.h"
#include "gda/dist/communicator.h"
#include "gda/growth/exactness.h"
#include "gda/growth/grow_checkpoint.h"
#include "gda/growth/signal_heads.h"
#include "gda/train/readable.h"
#include "gda/train/run_config.h"

namespace gda::cli {
namespace {

struct GrowOptions {
  std::string from;
  std::string to;
  std::optional<std::int64_t> factor;
  std::optional<std::int64_t> add;
  double noise_db = 10;
  std::uint64_t seed = 1;
  bool dry_run = false;
  bool json = false;
  std::string tokens;
  std::int64_t verify_tokens = 256;
};

// The run that the grown checkpoint begins: the old one's configuration with the new model and
// folder.
RunConfig grown_run(const CheckpointReader& from, const ModelConfig& model,
                    const std::string& directory) {
  require<ConfigError>(!from.run_config().empty(),
                       "{} holds no config.yaml, so its run cannot go on after growth",
                       from.path().string());
  RunConfig config = load_run_config(from.path() / "config.yaml", {});
  config.model = model;
  config.logging.dir = directory;
  config.validate();
  return config;
}

void check_target(const std::string& directory) {
  const auto existing = list_step_folders(std::filesystem::path(directory) / "checkpoints");
  require<ConfigError>(existing.empty(),
                       "--to {}: the folder already holds checkpoints; choose another", directory);
}

struct Sample {
  std::vector<std::int32_t> tokens;
  std::string origin;
};

// Tokens to compare the models on: of the dataset that was asked for, else of the run's first
// source that can be read, else random ones.
Sample tokens_to_compare(const GrowOptions& options, const RunConfig& config) {
  const std::int64_t vocabulary = config.model.vocab_size;
  const std::int64_t wanted = std::min(options.verify_tokens, config.model.max_position_embeddings);
  Sample sample;
  const auto read = [&](const std::string& path) {
    const auto datasets = open_token_datasets(path, vocabulary);
    sample.tokens.resize(static_cast<std::size_t>(std::min(wanted, datasets.front()->size())));
    datasets.front()->read(0, sample.tokens);
    sample.origin = datasets.front()->path().string();
  };
  if (!options.tokens.empty()) {
    read(options.tokens);
    return sample;
  }
  for (const DataSourceConfig& source : config.data.sources) {
    try {
      read(source.path);
      return sample;
    } catch (const Error& reason) {
      log::warning("the models are not compared on source {}: {}", source.name, reason.what());
    }
  }
  const Philox random(options.seed, RandomPurpose::sampling, "exactness");
  for (std::int64_t i = 0; i < wanted; ++i) {
    sample.tokens.push_back(static_cast<std::int32_t>(random.bits(static_cast<std::uint64_t>(i)) %
                                                      static_cast<std::uint64_t>(vocabulary)));
  }
  sample.origin = "random tokens (no dataset of the run could be read)";
  return sample;
}

struct Sizes {
  std::int64_t parameters = 0;
  double flops = 0;
};

Sizes sizes_of(const ModelConfig& model, std::int64_t sequence_length) {
  return {.parameters = parameter_count(model),
          .flops = training_flops_per_token(model, sequence_length).causal};
}

void print_change(const GrowthMap& map, const Sizes& before, const Sizes& after) {
  const AttentionConfig& a = map.from.attention;
  const AttentionConfig& b = map.to.attention;
  fmt::print("signal heads    {} -> {} ({}:1 -> {}:1), {} noise heads\n", a.signal_heads,
             b.signal_heads, a.ratio(), b.ratio(), b.noise_heads);
  const auto ratio = [](double x, double y) { return y / x; };
  fmt::print("parameters      {} -> {} ({:.3f}x)\n", readable_count(before.parameters),
             readable_count(after.parameters),
             ratio(static_cast<double>(before.parameters), static_cast<double>(after.parameters)));
  fmt::print("FLOPs a token   {:.4g} -> {:.4g} ({:.3f}x, training, causal)\n", before.flops,
             after.flops, ratio(before.flops, after.flops));
}

nlohmann::ordered_json to_json(const GrowthMap& map, const Sizes& before, const Sizes& after) {
  return {{"signal_heads", {map.from.attention.signal_heads, map.to.attention.signal_heads}},
          {"noise_heads", map.to.attention.noise_heads},
          {"parameters", {before.parameters, after.parameters}},
          {"flops_per_token_causal", {before.flops, after.flops}}};
}

void print_exactness(const Exactness& exactness, const std::string& origin) {
  fmt::print(
      "exactness       largest logit difference {:.3g} absolute, {:.3g} relative (f32, {} "
      "tokens of {})\n",
      exactness.largest_difference, exactness.relative(), exactness.tokens, origin);
}

int grow_signal_heads(const GrowOptions& options) {
  require<ConfigError>(options.factor.has_value() != options.add.has_value(),
                       "grow signal-heads: give either --factor (replicate every signal head) or "
                       "--add (new heads for each noise head)");
  const CheckpointReader from = open_checkpoint(options.from);
  const GrowthMap map = options.factor ? replicate_signal_heads(from.config(), *options.factor)
                                       : add_signal_heads(from.config(), *options.add);
  const RunConfig config = grown_run(from, map.to, options.to);
  const Sizes before = sizes_of(map.from, config.data.sequence_length);
  const Sizes after = sizes_of(map.to, config.data.sequence_length);
  nlohmann::ordered_json json = to_json(map, before, after);
  if (!options.json) print_change(map, before, after);
  if (!options.dry_run) {
    check_target(options.to);
    const auto group = make_self_communicator();
    const std::filesystem::path directory = options.to;
    make_directories(directory / "checkpoints");
    write_text_file_atomically(directory / "config.yaml", config.yaml());
    const SavedCheckpoint saved =
        grow_checkpoint(*group, from, map, {.decibels = options.noise_db, .seed = options.seed},
                        {.directory = directory / "checkpoints"}, config.yaml());
    json["checkpoint"] = saved.path.string();
    if (options.verify_tokens > 0) {
      const Sample sample = tokens_to_compare(options, config);
      const Exactness exactness =
          compare_logits(from, CheckpointReader(saved.path), sample.tokens, DType::f32);
      json["exactness"] = {{"absolute", exactness.largest_difference},
                           {"relative", exactness.relative()},
                           {"tokens", exactness.tokens},
                           {"origin", sample.origin}};
      if (!options.json) print_exactness(exactness, sample.origin);
    }
    if (!options.json) {
      fmt::print("written         {} ({})\ngo on with      gda resume {}\n", saved.path.string(),
                 readable_bytes(static_cast<std::int64_t>(saved.bytes)), options.to);
    }
  }
  if (options.json) fmt::print("{}\n", json.dump());
  return 0;
}

void add_signal_heads_command(CLI::App& grow, Action& action) {
  auto options = std::make_shared<GrowOptions>();
  CLI::App* command = grow.add_subcommand(
      "signal-heads", "More signal heads; noise heads, keys and values stay. Keeps the function.");
  command->add_option("--from", options->from, "Checkpoint folder, or run folder: its newest one")
      ->required();
  command->add_option("--to", options->to, "Folder of the run to begin")->required();
  command->add_option("--factor", options->factor, "Copies of every signal head");
  command->add_option("--add", options->add, "New signal heads for each noise head");
  command
      ->add_option("--noise-db", options->noise_db,
                   "Noise that tells replicas apart, decibels below the weights; 0: none")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--seed", options->seed, "Of the noise and of new heads")
      ->capture_default_str();
  command->add_option("--tokens", options->tokens,
                      "Dataset to compare the models on; default: the run's");
  command
      ->add_option("--verify-tokens", options->verify_tokens,
                   "Tokens that both models are run on; 0: no comparison")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--dry-run", options->dry_run, "Say what would change and write nothing");
  command->add_flag("--json", options->json, "Print the report as JSON");
  command->footer(
      "Example: gda grow signal-heads --from runs/small --to runs/grown --factor 4\n"
      "         gda resume runs/grown train.steps=20000");
  command->callback(
      [options, &action] { action = [options] { return grow_signal_heads(*options); }; });
}

}  // namespace

void add_grow(CLI::App& app, Action& action) {
  CLI::App* grow = app.add_subcommand("grow", "Make a trained model bigger");
  grow->require_subcommand(1);
  add_signal_heads_command(*grow, action);
}

}  // namespace gda::cli
