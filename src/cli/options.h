// Options as gda has them: values arrive as they are typed, and what is wrong is said in its words.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace gda::cli {

// One or more texts. (CLI11's own lists take brackets and commas in a value for a list.)
CLI::Option* add_texts(CLI::App& command, const std::string& name, std::vector<std::string>& values,
                       const std::string& doc);

// A path; ~ and ${NAME} are replaced as expand_path does, unless a file has that very name.
CLI::Option* add_path(CLI::App& command, const std::string& name, std::string& value,
                      const std::string& doc);
CLI::Option* add_paths(CLI::App& command, const std::string& name, std::vector<std::string>& values,
                       const std::string& doc);

// Checks: of a number, and of a word, for which the nearest allowed one is named.
CLI::Validator at_least(double minimum);
CLI::Validator in_range(double minimum, double maximum);
CLI::Validator one_of(std::vector<std::string> words);

}  // namespace gda::cli
