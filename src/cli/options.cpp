#include "cli/options.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "config/constraints.h"
#include "config/scalars.h"
#include "gda/core/error.h"
#include "gda/core/shell.h"

namespace gda::cli {
namespace {

// CLI11 takes a list without an end for one whose values may be lists.
constexpr int kMostValues = 1'000'000;

// Replaces the path, or returns why it cannot.
std::string expand(std::string& path) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) return {};
  try {
    path = expand_path(path);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return {};
}

CLI::Validator range_check(double minimum, double maximum) {
  return CLI::Validator(
      [minimum, maximum](std::string& text) {
        const auto value = config::parse_number(text);
        const bool may_be_infinite = text.find_first_of("nN") != std::string::npos;
        if (!value && may_be_infinite) return fmt::format("must be a number, got \"{}\"", text);
        // What else is no number is told of when it is converted.
        if (!value) return std::string();
        return config::range_problem({.key = {}, .doc = {}, .minimum = minimum, .maximum = maximum},
                                     *value);
      },
      "");
}

}  // namespace

CLI::Option* add_texts(CLI::App& command, const std::string& name, std::vector<std::string>& values,
                       const std::string& doc) {
  const CLI::callback_t store = [&values](const CLI::results_t& results) {
    values = results;
    return true;
  };
  // Without extra arguments a value in brackets stays one; positional ones need them for a second.
  return command.add_option(name, store, doc)
      ->type_name("TEXT")
      ->expected(1, kMostValues)
      ->allow_extra_args(!name.starts_with('-'));
}

CLI::Option* add_path(CLI::App& command, const std::string& name, std::string& value,
                      const std::string& doc) {
  return command.add_option(name, value, doc)
      ->type_name("PATH")
      ->transform(CLI::Validator(expand, ""));
}

CLI::Option* add_paths(CLI::App& command, const std::string& name, std::vector<std::string>& values,
                       const std::string& doc) {
  return add_texts(command, name, values, doc)
      ->type_name("PATH")
      ->transform(CLI::Validator(expand, ""));
}

CLI::Validator at_least(double minimum) {
  return range_check(minimum, std::numeric_limits<double>::infinity());
}

CLI::Validator in_range(double minimum, double maximum) {
  return range_check(minimum, maximum);
}

CLI::Validator one_of(std::vector<std::string> words) {
  const std::string shown = fmt::format("{{{}}}", fmt::join(words, ","));
  return CLI::Validator(
      [words = std::move(words)](std::string& word) {
        return config::choice_problem({.key = {}, .doc = {}, .one_of = words}, word);
      },
      shown);
}

}  // namespace gda::cli
