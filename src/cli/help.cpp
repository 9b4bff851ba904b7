#include <fmt/core.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/command_tree.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/version.h"
#include "gda/core/error.h"

namespace gda::cli {

namespace {

// Null where there is none of this name.
const CLI::App* command_of(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->check_name(name)) return command;
  }
  return nullptr;
}

}  // namespace

void add_version(CLI::App& app, Action& action) {
  app.set_version_flag("--version", version_page);
  CLI::App* command = app.add_subcommand("version", "Tell what this program is made of");
  const auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "As JSON");
  command->footer("Example: gda version --json");
  command->callback([&action, json] {
    action = [json] {
      fmt::print("{}\n", *json ? version_facts().dump(2) : version_page());
      return 0;
    };
  });
}

void add_help(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("help", "Help with a command: gda help grow width");
  const auto words = std::make_shared<std::vector<std::string>>();
  command->add_option("command", *words, "The command, and one of its own");
  command->footer("Example: gda help tokenize");
  command->callback([&app, &action, words] {
    action = [&app, words] {
      const CLI::App* about = &app;
      std::string name = app.get_name();
      for (const std::string& word : *words) {
        const CLI::App* next = command_of(*about, word);
        require<ConfigError>(next != nullptr, "{} has no command {}; `{} --help` lists them", name,
                             word, name);
        about = next;
        name += " " + word;
      }
      // (App::help would tell of the command that was given, which is help.)
      fmt::print("{}", app.get_formatter()->make_help(about, name, CLI::AppFormatMode::Normal));
      return 0;
    };
  });
}

void add_completion(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("completion", "Print what makes a shell complete words");
  const auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell, "The shell")
      ->required()
      ->check(one_of({"bash", "zsh", "fish"}));
  command->footer("Example: source <(gda completion bash)");
  command->callback([&app, &action, shell] {
    action = [&app, shell] {
      fmt::print("{}", completion(app, *shell));
      return 0;
    };
  });
}

void add_manual(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("manual", "Print the manual page, for man");
  command->footer("Example: gda manual | man -l -");
  command->callback([&app, &action] {
    action = [&app] {
      fmt::print("{}", manual_page(app));
      return 0;
    };
  });
}

}  // namespace gda::cli
