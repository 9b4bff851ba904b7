#include <fmt/format.h>

#include "cli/command_tree.h"

namespace gda::cli {
namespace {

// Text of roff: a backslash is written as one, a line does not begin with a request.
std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\') {
      result += "\\e";
    } else if (c == '-') {
      result += "\\-";
    } else {
      if ((c == '.' || c == '\'') && (result.empty() || result.back() == '\n')) result += "\\&";
      result += c;
    }
  }
  return result;
}

std::string section(const CommandFacts& command, const std::string& about) {
  std::string text = fmt::format(
      ".SS {}\n{}.\n", escaped(about + (command.usage.empty() ? "" : " " + command.usage)),
      escaped(command.description));
  for (const OptionFacts& option : command.options) {
    if (option.name == "--help" || option.name == "--version") continue;
    text += fmt::format(
        ".TP\n.B {}\n{}\n", escaped(option.name + (option.value.empty() ? "" : " " + option.value)),
        escaped(option.description.empty() ? "(no more to say)" : option.description));
  }
  if (!command.examples.empty())
    text += fmt::format(".PP\n.nf\n{}\n.fi\n", escaped(command.examples));
  return text;
}

}  // namespace

std::string manual_page(const CLI::App& app) {
  const std::vector<CommandFacts> commands = command_tree(app);
  std::string page = fmt::format(".TH GDA 1 \"\" \"gda " GDA_VERSION
                                 "\" \"User commands\"\n"
                                 ".SH NAME\ngda \\- {}\n"
                                 ".SH SYNOPSIS\n.B gda\n.I COMMAND\n[options]\n"
                                 ".SH DESCRIPTION\n{}\n"
                                 "Every command has\n.BR \\-\\-help .\n"
                                 ".SH COMMANDS\n",
                                 escaped("pretrain, continue and grow language models"),
                                 escaped(app.get_description()));
  for (const CommandFacts& command : commands) {
    // What only holds others says nothing of itself.
    if (!command.subcommands.empty()) continue;
    page += section(command, command.path);
  }
  page +=
      ".SH EXIT STATUS\n0: done, or stopped as asked. 1: it failed. 2: bad usage or "
      "configuration.\n"
      ".SH SEE ALSO\nREADME.md and docs/ of the distribution, in share/doc/gda.\n";
  return page;
}

}  // namespace gda::cli
