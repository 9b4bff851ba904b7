#include "cli/command_tree.h"

#include <fmt/format.h>

namespace gda::cli {
namespace {

// What help says of an option's values.
class ValueFormatter : public CLI::Formatter {
 public:
  std::string value_of(const CLI::Option& option) const {
    std::string text = make_option_opts(&option);
    text.erase(0, text.find_first_not_of(' '));
    return text;
  }
};

// From the name of its type: "PATH", "TEXT:{keep,multiply}".
ValueFacts values_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  ValueFacts facts{.is_path = type.starts_with("PATH")};
  const std::size_t begin = type.find('{');
  const std::size_t end = type.find('}');
  if (begin == std::string::npos || end == std::string::npos) return facts;
  facts.choices = CLI::detail::split(type.substr(begin + 1, end - begin - 1), ',');
  return facts;
}

std::string usage_of(const CLI::App& app) {
  std::string usage;
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_positional()) continue;
    const char* const more = option->get_expected_max() > 1 ? "..." : "";
    const std::string one = option->get_name(true) + more;
    if (!usage.empty()) usage += ' ';
    usage += option->get_required() ? one : fmt::format("[{}]", one);
  }
  return usage;
}

void add_to(std::vector<CommandFacts>& all, const CLI::App& app, const std::string& path) {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  CommandFacts facts{.path = path,
                     .description = app.get_description(),
                     .usage = usage_of(app),
                     .examples = app.get_footer(),
                     .subcommands = {},
                     .options = {},
                     .arguments = {}};
  for (const CLI::App* command : commands) facts.subcommands.push_back(command->get_name());
  for (const CLI::Option* option : app.get_options()) {
    const ValueFacts values = values_of(*option);
    if (option->get_positional()) {
      facts.arguments.is_path |= values.is_path;
      facts.arguments.choices.insert(facts.arguments.choices.end(), values.choices.begin(),
                                     values.choices.end());
    }
    if (option->get_lnames().empty()) continue;
    facts.options.push_back({.name = "--" + option->get_lnames().front(),
                             .value = ValueFormatter().value_of(*option),
                             .description = option->get_description(),
                             .values = values});
  }
  all.push_back(std::move(facts));
  for (const CLI::App* command : commands) add_to(all, *command, path + " " + command->get_name());
}

}  // namespace

std::vector<CommandFacts> command_tree(const CLI::App& app) {
  std::vector<CommandFacts> all;
  add_to(all, app, app.get_name());
  return all;
}

}  // namespace gda::cli
