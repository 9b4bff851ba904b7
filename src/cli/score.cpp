// gda score: log-probabilities of given tokens.
#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/loaded_model.h"
#include "cli/options.h"
#include "gda/core/error.h"
#include "gda/core/text.h"

namespace gda::cli {
namespace {

struct ScoreOptions {
  ModelOptions model;
  std::string text;
  std::string tokens;
  std::string tokenizer;
};

// Calls f(line, "FILE:NUMBER") for each line of a file, or of standard input for "-".
void for_each_line(const std::string& option, const std::string& path,
                   const std::function<void(const std::string&, const std::string&)>& f) {
  std::ifstream file;
  if (path != "-") {
    file.open(path);
    require<ConfigError>(file.is_open(), "{} {}: cannot open the file", option, path);
  }
  std::istream& input = path == "-" ? std::cin : file;
  std::int64_t number = 0;
  for (std::string line; std::getline(input, line);) {
    if (line.ends_with('\r')) line.pop_back();
    // A byte order mark belongs to no text.
    if (number == 0 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
    f(line, fmt::format("{}:{}", path == "-" ? "standard input" : path, ++number));
  }
  require<IoError>(!input.bad(), "{} {}: cannot read", option, path);
}

std::vector<std::int32_t> parse_tokens(const std::string& line, const std::string& where) {
  const auto list = nlohmann::json::parse(line, nullptr, false);
  require<ConfigError>(list.is_array(), "{}: expected a JSON list of token ids, found: {}", where,
                       line.substr(0, 60));
  std::vector<std::int32_t> tokens;
  tokens.reserve(list.size());
  for (const auto& entry : list) {
    require<ConfigError>(entry.is_number_integer() &&
                             entry.get<std::int64_t>() >= std::numeric_limits<int>::min() &&
                             entry.get<std::int64_t>() <= std::numeric_limits<int>::max(),
                         "{}: expected a token id, found: {}", where, entry.dump());
    tokens.push_back(entry.get<std::int32_t>());
  }
  return tokens;
}

void print_score(LoadedModel& model, const std::vector<std::int32_t>& tokens,
                 const std::string& where) {
  model.check_ids(tokens, where);
  // The last token is only predicted: it needs no position.
  const std::int64_t positions = model.config().max_position_embeddings;
  require<ConfigError>(static_cast<std::int64_t>(tokens.size()) <= positions + 1,
                       "{}: {}; the model has {} and can score {}", where,
                       counted(tokens.size(), "token"), counted(positions, "position"),
                       positions + 1);
  std::vector<double> scores;
  if (tokens.size() > 1) scores = model.log_probabilities(tokens);
  const nlohmann::ordered_json line{{"tokens", tokens},
                                    {"log_probs", scores},
                                    {"sum", std::accumulate(scores.begin(), scores.end(), 0.0)}};
  const std::string text = line.dump() + "\n";
  const bool is_written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  require<IoError>(is_written && std::fflush(stdout) == 0,
                   "gda score: cannot write to standard output");
}

int run_score(const ScoreOptions& options) {
  require<ConfigError>(options.text.empty() != options.tokens.empty(),
                       "score: give either --text FILE or --tokens FILE");
  LoadedModel model(options.model);
  if (!options.tokens.empty()) {
    for_each_line("--tokens", options.tokens,
                  [&](const std::string& line, const std::string& where) {
                    print_score(model, parse_tokens(line, where), where);
                  });
    return 0;
  }
  const auto tokenizer = model.open_tokenizer(options.tokenizer);
  for_each_line("--text", options.text, [&](const std::string& line, const std::string& where) {
    print_score(model, tokenizer->encode(line), where);
  });
  return 0;
}

}  // namespace

void add_score(CLI::App& app, Action& action) {
  auto options = std::make_shared<ScoreOptions>();
  CLI::App* command =
      app.add_subcommand("score", "Log-probabilities that a model gives to texts or tokens");
  add_model_options(*command, options->model);
  add_path(*command, "--text", options->text,
           "File with a document a line, encoded without begin or end tokens; -: "
           "standard input");
  add_path(*command, "--tokens", options->tokens,
           "File with a JSON list of token ids a line; -: standard input");
  add_path(*command, "--tokenizer", options->tokenizer,
           "Tokenizer model for --text; default: data.tokenizer of the model's run");
  command->footer(
      "Prints a JSON line for each input line: tokens; log_probs, the natural logarithms of\n"
      "p(token i+1 | tokens 0..i), one fewer than tokens; and their sum.\n"
      "Example: echo 'The sky is blue.' | gda score runs/small --text -");
  command->callback([options, &action] { action = [options] { return run_score(*options); }; });
}

}  // namespace gda::cli
