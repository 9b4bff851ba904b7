// gda tokenizer train: text to a SentencePiece model.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/corpus_report.h"
#include "cli/options.h"
#include "cli/output.h"
#include "gda/core/log.h"
#include "gda/core/text.h"
#include "gda/data/tokenizer_training.h"

namespace gda::cli {
namespace {

namespace fs = std::filesystem;

constexpr double kMegabyteOfSample = 1e6;

struct TokenizerOptions {
  std::vector<std::string> inputs;
  std::string format = "auto";
  std::string output;
  double sample_mb = 100;
  bool json = false;
  bool force = false;
  TokenizerTrainingOptions training;
};

// A folder gets DIR/tokenizer.model, a prefix PREFIX.model.
fs::path model_path(const std::string& output) {
  if (output.ends_with('/') || fs::is_directory(output))
    return fs::path(output) / "tokenizer.model";
  return fs::path(output).extension() == ".model" ? fs::path(output) : fs::path(output + ".model");
}

int run_tokenizer_train(TokenizerOptions& options) {
  const Corpus corpus = find_corpus(options.inputs, options.format);
  options.training.files = corpus.files;
  options.training.sample_bytes = static_cast<std::int64_t>(options.sample_mb * kMegabyteOfSample);
  const fs::path path = model_path(options.output);
  const auto lock = claim_output(path.string(), {path}, options.force);
  log::info("tokenizer: training {} on {}", counted(options.training.vocab_size, "piece"),
            counted(options.training.files.size(), "file"));
  const auto begin = std::chrono::steady_clock::now();
  const TokenizerTrainingSummary summary = train_tokenizer(options.training, path);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (options.json) {
    nlohmann::ordered_json json{{"model", path.string()},
                                {"vocab_size", options.training.vocab_size}};
    add_corpus(json, corpus, summary.doubts);
    json["documents"] = summary.documents;
    json["bytes"] = summary.bytes;
    json["sampled_bytes"] = summary.sampled_bytes;
    json["sampled_lines"] = summary.sampled_lines;
    json["seconds"] = seconds;
    print_json(json);
    return 0;
  }
  fmt::print(
      "{}: {} pieces from {:.1f} of {:.1f} MB of text ({} of {}) in {:.1f} s\n", path.string(),
      options.training.vocab_size, static_cast<double>(summary.sampled_bytes) / kMegabyteOfSample,
      static_cast<double>(summary.bytes) / kMegabyteOfSample,
      counted(summary.sampled_lines, "line"), counted(summary.documents, "document"), seconds);
  print_corpus(corpus, summary.doubts);
  return 0;
}

}  // namespace

void add_tokenizer(CLI::App& app, Action& action) {
  CLI::App* tokenizer = app.add_subcommand("tokenizer", "Train a tokenizer");
  tokenizer->require_subcommand(1);
  CLI::App* train = tokenizer->add_subcommand(
      "train", "Train a SentencePiece byte-pair model that keeps every byte of the text");
  const auto options = std::make_shared<TokenizerOptions>();
  add_texts(*train, "--input", options->inputs,
            "files, folders, - for standard input; as for gda tokenize")
      ->type_name("PATH")
      ->required();
  train
      ->add_option("--vocab-size", options->training.vocab_size,
                   "pieces, including 4 special tokens and 256 bytes")
      ->capture_default_str();
  add_path(*train, "--output", options->output,
           "the model: PREFIX for PREFIX.model, or a folder for tokenizer.model in it")
      ->required();
  train
      ->add_option("--format", options->format,
                   "auto (jsonl where the content is that, else text-file), text-file, text-line, "
                   "jsonl")
      ->check(one_of({"auto", "text-file", "text-line", "jsonl"}))
      ->capture_default_str();
  train
      ->add_option("--key", options->training.jsonl.key,
                   "key of the text in JSON lines, or path of keys: doc.text, /doc/text")
      ->capture_default_str();
  train->add_flag("--skip-bad-lines", options->training.jsonl.skip_bad_lines,
                  "skip JSON lines without a text instead of stopping");
  train
      ->add_option("--sample-mb", options->sample_mb,
                   "train on at most this much text, MB, sampled uniformly by line; memory is "
                   "several times as much")
      ->capture_default_str();
  train
      ->add_option("--character-coverage", options->training.character_coverage,
                   "share of the text's characters that get a piece; the rest become bytes")
      ->capture_default_str();
  train->add_option("--seed", options->training.seed, "seed of the sample")->capture_default_str();
  train->add_option("--threads", options->training.threads, "threads; 0: one a core")
      ->check(at_least(0))
      ->capture_default_str();
  train->add_flag("--json", options->json, "print the summary as JSON");
  add_force_option(*train, options->force);
  train->footer(
      "Example: gda tokenizer train --input en.txt ko.txt.gz --vocab-size 16000 --output "
      "tokens/en-ko");
  train->callback(
      [options, &action] { action = [options] { return run_tokenizer_train(*options); }; });
}

}  // namespace gda::cli
