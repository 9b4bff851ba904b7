// gda eval ppl: loss and perplexity of a model on token datasets.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/loaded_model.h"
#include "cli/options.h"
#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/text.h"
#include "gda/eval/loss.h"
#include "gda/report/readable.h"
#include "gda/train/data_agreement.h"

namespace gda::cli {
namespace {

constexpr std::int64_t kLongestDefault = 4096;
constexpr double kSecondsBetweenLines = 5;

struct PerplexityOptions {
  ModelOptions model;
  std::vector<std::string> data;
  std::int64_t sequence_length = 0;
  std::int64_t max_samples = 0;
  bool json = false;
};

// How the tokens are cut into rows: as in the model's run.
struct Rows {
  std::int64_t length = 0;
  std::int64_t micro_batch = 1;
  bool document_mask = true;
};

Rows rows_of(const PerplexityOptions& options, const std::optional<RunConfig>& run,
             const ModelConfig& model) {
  Rows rows;
  rows.length = std::min(model.max_position_embeddings, kLongestDefault);
  if (run) {
    rows = {.length = run->data.sequence_length,
            .micro_batch = run->train.micro_batch_size,
            .document_mask = run->data.document_mask};
  }
  if (options.sequence_length > 0) rows.length = options.sequence_length;
  require<ConfigError>(rows.length <= model.max_position_embeddings,
                       "--sequence-length {}: the model has {}", rows.length,
                       counted(model.max_position_embeddings, "position"));
  return rows;
}

// Whether the tokens are the model's, before they are read.
void check_data(const PerplexityOptions& options, const std::optional<RunConfig>& run,
                const LoadedModel& model, const Rows& rows) {
  std::vector<std::string> paths = options.data;
  std::vector<std::string> settings;
  settings.reserve(paths.size());
  for (const std::string& path : paths) settings.push_back("--data " + path);
  if (paths.empty()) {
    for (const DataSourceConfig& source : run->data.sources) {
      paths.push_back(source.path);
      settings.push_back("source " + source.name + " of the run");
    }
  }
  const auto alone = make_self_communicator();
  auto datasets = identify_datasets(paths, *alone);
  std::vector<NamedData> sets;
  std::vector<std::string> faults;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    sets.push_back({settings[i], std::move(datasets[i])});
    for (auto& fault : faults_of(sets.back(), model.config().vocab_size, rows.document_mask)) {
      faults.push_back(std::move(fault));
    }
  }
  const auto others =
      tokenizer_faults_of(sets, model.learnt_tokenizer(), "the model " + model.path().string());
  if (!options.model.accept_other_tokenizer) {
    faults.insert(faults.end(), others.begin(), others.end());
  }
  require_none(faults, "the data does not fit the model",
               others.empty() ? ""
                              : "Where two tokenizers give the same ids, add "
                                "--accept-other-tokenizer");
  for (const std::string& other : others) log::warning("accepted: {}", other);
}

// Evaluation sets with the datasets that they read.
struct Sets {
  std::vector<std::vector<std::unique_ptr<TokenDataset>>> datasets;
  std::vector<EvaluationSet> sets;
};

// What each source of the run holds out.
Sets validation_sets(const RunConfig& run, const Rows& rows) {
  Sets result;
  for (const DataSourceConfig& source : run.data.sources) {
    auto datasets = open_token_datasets(source.path, run.model.vocab_size);
    TokenSplit split = split_tokens(datasets, run.data.validation_fraction);
    if (split.validation.size() < 2) {
      log::warning("source {} of the run has no validation tokens", source.name);
      continue;
    }
    result.sets.emplace_back(source.name, std::move(split.validation), rows.length,
                             rows.document_mask);
    result.datasets.push_back(std::move(datasets));
  }
  require<ConfigError>(!result.sets.empty(),
                       "no source of the run has validation tokens "
                       "(data.validation_fraction is {}): give --data PREFIX",
                       run.data.validation_fraction);
  return result;
}

Sets named_sets(const std::vector<std::string>& paths, std::int64_t vocab_size, const Rows& rows) {
  Sets result;
  for (const std::string& path : paths) {
    result.sets.push_back(
        EvaluationSet::open(path, path, vocab_size, rows.length, rows.document_mask));
  }
  return result;
}

// A line every few seconds on standard error: rate and time left of one set.
class Progress {
 public:
  explicit Progress(const EvaluationSet& set) : set_(set) {}

  void operator()(std::int64_t done, std::int64_t samples) {
    const auto now = Clock::now();
    const double since = std::chrono::duration<double>(now - last_).count();
    if (since < kSecondsBetweenLines || done == samples) return;
    last_ = now;
    const double elapsed = std::chrono::duration<double>(now - begin_).count();
    const double rate = static_cast<double>(done) / elapsed;
    log::info("eval: {:3.0f} %  {}  {} tokens/s  {} left",
              100 * static_cast<double>(done) / static_cast<double>(samples), set_.name(),
              readable_count(
                  static_cast<std::int64_t>(rate * static_cast<double>(set_.sequence_length()))),
              readable_duration(static_cast<double>(samples - done) / rate));
  }

 private:
  using Clock = std::chrono::steady_clock;
  const EvaluationSet& set_;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point last_ = begin_;
};

void print_table(const nlohmann::ordered_json& results) {
  std::size_t width = 3;
  for (const auto& row : results) width = std::max(width, row["set"].get<std::string>().size());
  fmt::print("{:<{}} {:>15} {:>12} {:>12}\n", "set", width, "tokens", "loss", "perplexity");
  for (const auto& row : results) {
    fmt::print("{:<{}} {:>15} {:>12.6f} {:>12.5g}\n", row["set"].get<std::string>(), width,
               readable_count(row["tokens"].get<std::int64_t>()), row["loss"].get<double>(),
               row["perplexity"].get<double>());
  }
}

int run_perplexity(const PerplexityOptions& options) {
  LoadedModel model(options.model);
  const std::optional<RunConfig> run = model.run_config();
  require<ConfigError>(run.has_value() || !options.data.empty(),
                       "{} belongs to no run whose validation tokens could be used: give --data "
                       "PREFIX",
                       model.path().string());
  const Rows rows = rows_of(options, run, model.config());
  check_data(options, run, model, rows);
  const Sets sets = options.data.empty()
                        ? validation_sets(*run, rows)
                        : named_sets(options.data, model.config().vocab_size, rows);
  const auto alone = make_self_communicator();
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (const EvaluationSet& set : sets.sets) {
    Progress progress(set);
    const EvaluationResult result = evaluate_loss(
        model.context(), model.decoder(), set, *alone, rows.micro_batch, options.max_samples,
        [&](std::int64_t done, std::int64_t samples) { progress(done, samples); });
    results.push_back({{"set", set.name()},
                       {"tokens", result.targets},
                       {"loss", result.loss},
                       {"perplexity", result.perplexity()}});
  }
  if (options.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"model", model.path().string()},
                                              {"sequence_length", rows.length},
                                              {"results", results}}
                           .dump());
  } else {
    print_table(results);
  }
  return 0;
}

void add_perplexity(CLI::App& eval, Action& action) {
  auto options = std::make_shared<PerplexityOptions>();
  CLI::App* command =
      eval.add_subcommand("ppl", "Mean loss (nats a token) and perplexity on token datasets");
  add_model_options(*command, options->model);
  add_paths(*command, "--data", options->data,
            "Token datasets (PREFIX of .bin and .idx, shard or folder); default: the "
            "validation tokens of the model's run");
  command
      ->add_option("--sequence-length", options->sequence_length,
                   "Tokens a row; default: the run's, else the model's positions, at most 4096")
      ->check(at_least(1));
  command->add_option("--max-samples", options->max_samples, "Rows of each set at most; 0: all")
      ->capture_default_str()
      ->check(at_least(0));
  command->add_flag("--json", options->json, "Print JSON");
  command->footer("Example: gda eval ppl runs/small --data data/news data/books");
  command->callback(
      [options, &action] { action = [options] { return run_perplexity(*options); }; });
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  CLI::App* eval = app.add_subcommand("eval", "Measure a model");
  eval->require_subcommand(1);
  add_perplexity(*eval, action);
}

}  // namespace gda::cli
