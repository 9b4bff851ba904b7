// A configuration file as a tree whose every node knows where it was written.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gda::config {

// The place of overrides.
inline constexpr const char* kCommandLine = "command line";

// A line of a file, or the command line.
struct Place {
  std::string file;
  int line = 0;  // from 1; 0: the file as a whole

  std::string str() const;
};

// A message and the place it is about.
struct Problem {
  Place place;
  std::string text;
};
using Problems = std::vector<Problem>;

void note(Problems& problems, Place place, std::string text);

// A key of a mapping and its value.
struct ConfigEntry;

struct ConfigNode {
  enum class Kind { null, scalar, list, mapping };

  Kind kind = Kind::null;
  Place place;                       // of the key for values of a mapping
  std::string text;                  // of a scalar
  bool quoted = false;               // a scalar in quotes is text, whatever it looks like
  std::vector<ConfigNode> items;     // of a list
  std::vector<ConfigEntry> entries;  // of a mapping, in the order of the file

  ConfigNode* find(std::string_view key);
  const ConfigNode* find(std::string_view key) const;
  // What a message says was found: "null", "a list", "a mapping" or the scalar in quotes.
  std::string describe() const;
};

struct ConfigEntry {
  std::string key;
  ConfigNode value;
};

// Parses one YAML document. Syntax errors throw ConfigError; a key given twice is noted in
// `problems` and its first value kept.
ConfigNode parse_yaml(std::string_view text, const std::string& origin, Problems& problems);

// "sources.0.path" of "sources[0].path".
std::string with_dots(std::string_view path);

// Applies "key.path=value", where value is YAML and a number in the path indexes a list from 0.
// Mappings that the path needs are made.
void apply_override(ConfigNode& root, const std::string& text, Problems& problems);

}  // namespace gda::config
