// The commands of gda as data, for completion and the manual page.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace gda::cli {

// What a value may be.
struct ValueFacts {
  std::vector<std::string> choices = {};  // empty: anything
  bool is_path = false;
};

struct OptionFacts {
  std::string name;   // "--from"
  std::string value;  // "TEXT:{keep,multiply}=keep"; empty: a flag
  std::string description;
  ValueFacts values;
};

struct CommandFacts {
  std::string path;  // "gda grow width"
  std::string description;
  std::string usage;     // positional arguments: "CONFIG [OVERRIDES]..."
  std::string examples;  // the end of its help
  std::vector<std::string> subcommands;
  std::vector<OptionFacts> options;
  ValueFacts arguments;  // of all positional ones together
};

// `app` and all below it, each before its own.
std::vector<CommandFacts> command_tree(const CLI::App& app);

// Scripts for an interactive shell: bash, zsh or fish. ConfigError for another.
std::string completion(const CLI::App& app, const std::string& shell);
// The manual page, in the language of man (roff).
std::string manual_page(const CLI::App& app);

}  // namespace gda::cli
