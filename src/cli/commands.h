// The subcommands of gda. Each file parses its options, builds what it needs and runs it.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace gda::cli {

// What main runs once the command line is parsed; returns the exit code.
using Action = std::function<int()>;

// All of them.
void add_commands(CLI::App& app, Action& action);

void add_train(CLI::App& app, Action& action);
void add_resume(CLI::App& app, Action& action);
void add_grow(CLI::App& app, Action& action);
void add_tokenizer(CLI::App& app, Action& action);
void add_tokenize(CLI::App& app, Action& action);
void add_eval(CLI::App& app, Action& action);
void add_generate(CLI::App& app, Action& action);
void add_score(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_config(CLI::App& app, Action& action);
// Also the option --version.
void add_version(CLI::App& app, Action& action);
void add_help(CLI::App& app, Action& action);
void add_completion(CLI::App& app, Action& action);
void add_manual(CLI::App& app, Action& action);

}  // namespace gda::cli
