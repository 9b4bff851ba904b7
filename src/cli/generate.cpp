// gda generate: continues texts.
#include "gda/eval/generate.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/loaded_model.h"
#include "cli/options.h"
#include "cli/text_stream.h"
#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/text.h"

namespace gda::cli {
namespace {

struct GenerateCommandOptions {
  ModelOptions model;
  std::vector<std::string> prompts;
  std::string tokenizer;
  GenerateOptions generate;
  bool json = false;
};

// Straight to standard output, so that a reader sees the text grow.
void print_now(const std::string& text) {
  const bool is_written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  require<IoError>(is_written && std::fflush(stdout) == 0,
                   "gda generate: cannot write to standard output");
}

const char* ending(const GenerateCommandOptions& options, const ModelConfig& config,
                   std::size_t prompt, std::size_t generated) {
  if (static_cast<std::int64_t>(generated) == options.generate.max_tokens) return "max_tokens";
  const bool is_full =
      static_cast<std::int64_t>(prompt + generated) > config.max_position_embeddings;
  return is_full ? "positions" : "end_of_document";
}

// What a document begins after: the end of one before, in data of gda tokenize; a tokenizer whose
// end of document is its end of sentence was trained with a begin of sentence.
std::vector<std::int32_t> beginning_of_document(const Tokenizer& tokenizer) {
  const bool has_own_end = tokenizer.eod_id() >= 0 && tokenizer.eod_id() != tokenizer.eos_id();
  const std::int32_t id =
      has_own_end || tokenizer.bos_id() < 0 ? tokenizer.eod_id() : tokenizer.bos_id();
  return id < 0 ? std::vector<std::int32_t>{} : std::vector<std::int32_t>{id};
}

// Continues one prompt; returns the number of new tokens.
std::size_t continue_prompt(const GenerateCommandOptions& options, LoadedModel& model,
                            const Tokenizer& tokenizer, const std::string& prompt) {
  std::vector<std::int32_t> ids = tokenizer.encode(prompt);
  if (ids.empty()) ids = beginning_of_document(tokenizer);
  model.check_ids(ids, "the tokenizer does not fit the model");
  TextStream stream(tokenizer);
  std::string text;
  const auto show = [&](const std::string& part) {
    text += part;
    if (!options.json) print_now(part);
  };
  if (!options.json) print_now(prompt);
  const auto tokens = generate(model.context(), model.decoder(), ids, options.generate,
                               [&](std::int32_t id) { show(stream.add(id)); });
  show(stream.finish());
  if (options.json) {
    const nlohmann::ordered_json line{
        {"prompt", prompt},
        {"text", text},
        {"prompt_tokens", ids},
        {"tokens", tokens},
        {"ended_by", ending(options, model.config(), ids.size(), tokens.size())}};
    // A prompt may hold bytes that are not UTF-8.
    text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    print_now(text);
  }
  print_now("\n");
  return tokens.size();
}

int run_generate(GenerateCommandOptions& options) {
  LoadedModel model(options.model);
  const auto tokenizer = model.open_tokenizer(options.tokenizer);
  if (tokenizer->eod_id() >= 0) options.generate.stop_token = tokenizer->eod_id();
  const auto begin = std::chrono::steady_clock::now();
  std::size_t tokens = 0;
  bool is_first = true;
  for (const std::string& prompt : options.prompts) {
    if (!is_first && !options.json) print_now("\n");
    is_first = false;
    tokens += continue_prompt(options, model, *tokenizer, prompt);
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  log::info("{} in {:.1f} s ({:.1f} tokens/s, {})", counted(tokens, "token"), elapsed.count(),
            static_cast<double>(tokens) / elapsed.count(), model.path().string());
  return 0;
}

void add_sampling_options(CLI::App& command, GenerateCommandOptions& options) {
  SamplingOptions& sampling = options.generate.sampling;
  command
      .add_option("--max-tokens", options.generate.max_tokens, "New tokens of each text at most")
      ->capture_default_str()
      ->check(at_least(1));
  command
      .add_option("--temperature", sampling.temperature,
                  "Logits are divided by it; 0: always the likeliest token")
      ->capture_default_str()
      ->check(at_least(0));
  command.add_option("--top-k", sampling.top_k, "Only the k likeliest tokens; 0: all")
      ->capture_default_str()
      ->check(at_least(0));
  command
      .add_option("--top-p", sampling.top_p,
                  "Only the likeliest tokens that together reach this probability")
      ->capture_default_str()
      ->check(in_range(0, 1));
  command.add_option("--seed", sampling.seed, "The same seed gives the same text")
      ->capture_default_str();
}

}  // namespace

void add_generate(CLI::App& app, Action& action) {
  auto options = std::make_shared<GenerateCommandOptions>();
  CLI::App* command = app.add_subcommand("generate", "Continue texts with a model");
  add_model_options(*command, options->model);
  add_texts(*command, "--prompt", options->prompts, "Texts to continue; '' begins a document")
      ->required();
  add_path(*command, "--tokenizer", options->tokenizer,
           "Tokenizer model; default: data.tokenizer of the model's run");
  add_sampling_options(*command, *options);
  command->add_flag("--json", options->json, "Print one JSON object a text");
  command->footer(
      "Text goes to standard output as it comes; a text ends at the end-of-document token.\n"
      "Example: gda generate runs/small --prompt \"Once upon a time\" --temperature 0.8 --top-p "
      "0.95");
  command->callback([options, &action] { action = [options] { return run_generate(*options); }; });
}

}  // namespace gda::cli
