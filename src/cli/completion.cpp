#include <fmt/format.h>

#include "cli/command_tree.h"
#include "gda/core/error.h"

namespace gda::cli {
namespace {

// In single quotes, as all three shells take it.
std::string in_quotes(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

// What may follow each command, in the syntax of arrays of bash and zsh.
std::string table(const std::vector<CommandFacts>& commands) {
  std::string rows;
  for (const CommandFacts& command : commands) {
    std::string words;
    for (const std::string& name : command.subcommands) words += name + " ";
    for (const OptionFacts& option : command.options) words += option.name + " ";
    rows += fmt::format("    [{}]={}\n", in_quotes(command.path), in_quotes(words));
  }
  return rows;
}

std::string bash(const std::vector<CommandFacts>& commands) {
  return "# bash completion of gda: gda completion bash > "
         "~/.local/share/bash-completion/completions/gda\n"
         "_gda() {\n"
         "  local -A after=(\n" +
         table(commands) +
         "  )\n"
         "  local command=gda word\n"
         "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    if [[ -n ${after[\"$command $word\"]:-} ]]; then command+=\" $word\"; fi\n"
         "  done\n"
         "  mapfile -t COMPREPLY < <(compgen -W \"${after[$command]}\" -- "
         "\"${COMP_WORDS[COMP_CWORD]}\")\n"
         "}\n"
         "complete -o default -F _gda gda\n";
}

std::string zsh(const std::vector<CommandFacts>& commands) {
  return "#compdef gda\n"
         "# zsh completion of gda: gda completion zsh > a folder of $fpath, as _gda\n"
         "_gda() {\n"
         "  local -A after\n"
         "  after=(\n" +
         table(commands) +
         "  )\n"
         "  local command=gda word\n"
         "  for word in ${words[2,CURRENT-1]}; do\n"
         "    if [[ -n ${after[$command $word]} ]]; then command+=\" $word\"; fi\n"
         "  done\n"
         "  compadd -- ${=after[$command]}\n"
         "  _files\n"
         "}\n"
         "if [[ $funcstack[1] == _gda ]]; then _gda \"$@\"; else compdef _gda gda; fi\n";
}

std::string fish(const std::vector<CommandFacts>& commands) {
  std::string paths;
  std::string rows;
  for (const CommandFacts& command : commands) {
    paths += " " + in_quotes(command.path);
    const std::string at =
        fmt::format("complete -c gda -n {}", in_quotes("__gda_is \"" + command.path + "\""));
    for (const CommandFacts& other : commands) {
      const std::size_t name = other.path.rfind(' ');
      if (name == std::string::npos || other.path.substr(0, name) != command.path) continue;
      rows += fmt::format("{} -a {} -d {}\n", at, other.path.substr(name + 1),
                          in_quotes(other.description));
    }
    for (const OptionFacts& option : command.options) {
      rows += fmt::format("{} -l {}{} -d {}\n", at, option.name.substr(2),
                          option.value.empty() ? "" : " -r", in_quotes(option.description));
    }
  }
  return "# fish completion of gda: gda completion fish > ~/.config/fish/completions/gda.fish\n"
         "function __gda_is\n"
         "  set -l command gda\n"
         "  for word in (commandline -opc)[2..-1]\n"
         "    if contains -- \"$command $word\"" +
         paths +
         "\n"
         "      set command \"$command $word\"\n"
         "    end\n"
         "  end\n"
         "  test \"$command\" = \"$argv[1]\"\n"
         "end\n" +
         rows;
}

}  // namespace

std::string completion(const CLI::App& app, const std::string& shell) {
  const std::vector<CommandFacts> commands = command_tree(app);
  if (shell == "bash") return bash(commands);
  if (shell == "zsh") return zsh(commands);
  if (shell == "fish") return fish(commands);
  fail<ConfigError>("completion for {}: expected bash, zsh or fish", shell);
}

}  // namespace gda::cli
