// The commands of gda as data, for completion and the manual page.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace gda::cli {

struct OptionFacts {
  std::string name;   // "--from"
  std::string value;  // "TEXT:{keep,multiply}=keep"; empty: a flag
  std::string description;
};

struct CommandFacts {
  std::string path;  // "gda grow width"
  std::string description;
  std::string usage;     // positional arguments: "CONFIG [OVERRIDES]..."
  std::string examples;  // the end of its help
  std::vector<std::string> subcommands;
  std::vector<OptionFacts> options;
};

// `app` and all below it, each before its own.
std::vector<CommandFacts> command_tree(const CLI::App& app);

// Scripts for an interactive shell: bash, zsh or fish. ConfigError for another.
std::string completion(const CLI::App& app, const std::string& shell);
// The manual page, in the language of man (roff).
std::string manual_page(const CLI::App& app);

}  // namespace gda::cli
