#include <fmt/format.h>

#include "cli/command_tree.h"
#include "gda/core/error.h"

namespace gda::cli {
namespace {

// In place of words that can be listed: names of files.
constexpr const char* kFiles = "@files";

// In single quotes, as all three shells take it.
std::string in_quotes(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

std::string candidates(const ValueFacts& values) {
  return values.is_path ? kFiles : fmt::format("{}", fmt::join(values.choices, " "));
}

std::string row(const std::string& key, const std::string& words) {
  return fmt::format("    [{}]={}\n", in_quotes(key), in_quotes(words));
}

// Arrays of bash and zsh: `after`, what may follow each command; `options`, those it has; `values`,
// what may follow an option that takes one.
std::string tables(const std::vector<CommandFacts>& commands) {
  std::string after;
  std::string options;
  std::string values;
  for (const CommandFacts& command : commands) {
    std::string names;
    for (const OptionFacts& option : command.options) {
      names += option.name + " ";
      if (option.value.empty()) continue;
      values += row(command.path + " " + option.name, candidates(option.values));
    }
    options += row(command.path, names);
    after += row(command.path, command.subcommands.empty()
                                   ? candidates(command.arguments)
                                   : fmt::format("{}", fmt::join(command.subcommands, " ")));
  }
  return "  after=(\n" + after + "  )\n  options=(\n" + options + "  )\n  values=(\n" + values +
         "  )\n";
}

// `gda help grow width` is completed as `gda grow width`. bash takes --option=value for three
// words.
std::string bash(const std::vector<CommandFacts>& commands) {
  return "# bash completion of gda: gda completion bash > "
         "~/.local/share/bash-completion/completions/gda\n"
         "_gda() {\n"
         "  local -A after options values\n" +
         tables(commands) + R"(  local command=gda each
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  if [[ $word == = ]]; then
    word=
  elif [[ $before == = ]]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [[ -n ${options["$command $each"]:-} && "$command $each" != 'gda help' ]]; then
      command+=" $each"
    fi
  done
  local words=${after["$command"]:-}
  if [[ -n ${values["$command $before"]+known} ]]; then
    words=${values["$command $before"]}
  elif [[ $word == -* ]]; then
    words=${options["$command"]}
  fi
  COMPREPLY=()
  if [[ $words == @files ]]; then
    compopt -o default
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
  fi
}
complete -F _gda gda
)";
}

std::string zsh(const std::vector<CommandFacts>& commands) {
  return "#compdef gda\n"
         "# zsh completion of gda: gda completion zsh > a folder of $fpath, as _gda\n"
         "_gda() {\n"
         "  local -A after options values\n" +
         tables(commands) + R"(  local command=gda each before=${words[CURRENT-1]}
  for each in ${words[2,CURRENT-1]}; do
    if [[ -n ${options[$command $each]} && "$command $each" != 'gda help' ]]; then
      command+=" $each"
    fi
  done
  local list=${after[$command]}
  if [[ $PREFIX == --*=* ]]; then
    before=${PREFIX%%=*}
    compset -P 1 '*='
    list=${values[$command $before]}
  elif (( ${+values[$command $before]} )); then
    list=${values[$command $before]}
  elif [[ $PREFIX == -* ]]; then
    list=${options[$command]}
  fi
  if [[ $list == @files ]]; then
    _files
  else
    compadd -- ${=list}
  fi
}
if [[ $funcstack[1] == _gda ]]; then _gda "$@"; else compdef _gda gda; fi
)";
}

// What may follow a command or an option: files, these words, or nothing that could be listed.
std::string fish_values(const ValueFacts& values) {
  if (values.is_path) return " -F";
  if (values.choices.empty()) return " -f";
  return fmt::format(" -f -a {}", in_quotes(fmt::format("{}", fmt::join(values.choices, " "))));
}

std::string fish(const std::vector<CommandFacts>& commands) {
  std::string paths;
  std::string rows;
  for (const CommandFacts& command : commands) {
    paths += " " + in_quotes(command.path);
    const std::string at =
        fmt::format("complete -c gda -n {}", in_quotes("__gda_is \"" + command.path + "\""));
    rows += at + fish_values(command.arguments) + "\n";
    for (const CommandFacts& other : commands) {
      const std::size_t name = other.path.rfind(' ');
      if (name == std::string::npos || other.path.substr(0, name) != command.path) continue;
      rows += fmt::format("{} -a {} -d {}\n", at, other.path.substr(name + 1),
                          in_quotes(other.description));
    }
    for (const OptionFacts& option : command.options) {
      rows += fmt::format("{} -l {}{} -d {}\n", at, option.name.substr(2),
                          option.value.empty() ? "" : " -r" + fish_values(option.values),
                          in_quotes(option.description));
    }
  }
  return "# fish completion of gda: gda completion fish > ~/.config/fish/completions/gda.fish\n"
         "function __gda_is\n"
         "  set -l command gda\n"
         "  for word in (commandline -opc)[2..-1]\n"
         "    if test \"$command $word\" != 'gda help'; and contains -- \"$command $word\"" +
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
