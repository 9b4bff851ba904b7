#include "cli/usage_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "config/constraints.h"
#include "gda/core/shell.h"

namespace gda::cli {
namespace {

// The command that was typed last: of "gda grow width", width.
const CLI::App& innermost(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : innermost(*chosen.front());
}

std::string full_name(const CLI::App& app) {
  const std::string& name = app.get_name();
  return app.get_parent() == nullptr ? name : full_name(*app.get_parent()) + " " + name;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string known(const std::vector<std::string>& names) {
  return fmt::format("; known here: {}", fmt::join(names, ", "));
}

// A word that no option and no command took.
std::string unknown_word(const CLI::App& app, const std::string& word) {
  const std::vector<std::string> commands = command_names(app);
  if (word.size() > 1 && word.starts_with('-')) {
    const std::string name = word.substr(0, word.find('='));
    const bool is_setting = name.find('.') != std::string::npos && word.find('=') < word.size();
    if (is_setting && app.get_option_no_throw("OVERRIDES") != nullptr) {
      return fmt::format("unknown option {}; settings are given without dashes: {}", name,
                         shell_word(word.substr(word.find_first_not_of('-'))));
    }
    const std::vector<std::string> options = option_names(app);
    const std::string hint = config::suggestion(name, options);
    return fmt::format("unknown option {}{}", name, hint.empty() ? known(options) : hint);
  }
  if (commands.empty()) return fmt::format("\"{}\" is one argument too many", word);
  const std::string hint = config::suggestion(word, commands);
  return fmt::format("unknown command \"{}\"{}", word, hint.empty() ? known(commands) : hint);
}

std::string expected_type(const CLI::App& app, const std::string& name) {
  const CLI::Option* option = app.get_option_no_throw(name);
  const std::string type = option == nullptr ? "" : option->get_type_name();
  if (type.find("FLOAT") != std::string::npos) return "a number";
  if (type.find("UINT") != std::string::npos) return "a whole number of at least 0";
  if (type.find("INT") != std::string::npos) return "a whole number";
  return "another value";
}

// CLI11 says "Could not convert: --seed = abc".
std::string conversion_problem(const CLI::App& app, const std::string& message) {
  constexpr std::string_view kBegin = "Could not convert: ";
  constexpr std::string_view kEquals = " = ";
  const std::size_t equals = message.find(kEquals);
  if (!message.starts_with(kBegin) || equals == std::string::npos) return message;
  const std::string name = message.substr(kBegin.size(), equals - kBegin.size());
  return fmt::format("{}: expected {}, got \"{}\"", name, expected_type(app, name),
                     message.substr(equals + kEquals.size()));
}

std::string problem_of(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> words = app.remaining();
  const bool wants_command = app.get_require_subcommand_min() > 0 && app.get_subcommands().empty();
  if (!words.empty()) return unknown_word(app, words.front());
  if (wants_command) return "a command is missing" + known(command_names(app));
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ConversionError)) {
    return conversion_problem(app, error.what());
  }
  return error.what();
}

}  // namespace

std::string usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = innermost(app);
  const std::string name = full_name(command);
  return fmt::format("{}: {} (`{} --help` tells more)", name, problem_of(command, error), name);
}

}  // namespace gda::cli
