#include "gda/core/shell.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "gda/core/error.h"

namespace gda {
namespace {

bool is_name_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

bool is_name(std::string_view word) {
  return !word.empty() && std::isdigit(static_cast<unsigned char>(word.front())) == 0 &&
         std::all_of(word.begin(), word.end(), is_name_character);
}

std::string variable(std::string_view path, std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  require<ConfigError>(value != nullptr && *value != '\0',
                       "path {}: the environment variable {} is {}", path, name,
                       value == nullptr ? "not set" : "empty");
  return value;
}

// The variable that begins at `at`, where a dollar sign is; goes past it.
std::string take_variable(std::string_view path, std::size_t& at) {
  const std::size_t begin = at + 1;
  if (begin < path.size() && path[begin] == '{') {
    const std::size_t close = path.find('}', begin);
    const bool has_end = close != std::string_view::npos;
    const std::string_view name = path.substr(begin + 1, has_end ? close - begin - 1 : 0);
    require<ConfigError>(has_end && is_name(name),
                         "path {}: expected the name of an environment variable between ${{ and }}",
                         path);
    at = close + 1;
    return variable(path, name);
  }
  std::size_t end = begin;
  while (end < path.size() && is_name_character(path[end])) ++end;
  const std::string_view name = path.substr(begin, end - begin);
  if (!is_name(name)) {
    at = begin;
    return "$";
  }
  at = end;
  return variable(path, name);
}

}  // namespace

std::string shell_word(std::string_view word) {
  constexpr std::string_view kPlain = "_-./,:=+@%^";
  const bool is_plain = !word.empty() && std::all_of(word.begin(), word.end(), [&](char c) {
    return is_name_character(c) || kPlain.find(c) != std::string_view::npos;
  });
  if (is_plain) return std::string(word);
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string expand_path(std::string_view path) {
  std::string expanded;
  std::size_t at = 0;
  if (path.starts_with('~')) {
    require<ConfigError>(path.size() == 1 || path[1] == '/',
                         "path {}: ~ stands for the home folder only before a /; write ./{} for a "
                         "file of that name, or another user's folder in full",
                         path, path);
    expanded = variable(path, "HOME");
    at = 1;
  }
  while (at < path.size()) {
    if (path.substr(at).starts_with("\\$")) {
      expanded += '$';
      at += 2;
    } else if (path[at] == '$') {
      expanded += take_variable(path, at);
    } else {
      expanded += path[at++];
    }
  }
  return expanded;
}

std::string unexpanded_path(std::string_view path) {
  std::string result = path.starts_with('~') ? "./" : "";
  for (const char c : path) {
    if (c == '$') result += '\\';
    result += c;
  }
  return result;
}

}  // namespace gda
