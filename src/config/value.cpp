// value_at: one value out of all of them, for scripts.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>

#include "config/constraints.h"
#include "config/tree.h"
#include "gda/config/fields.h"
#include "gda/core/error.h"

namespace gda {
namespace {

using config::ConfigNode;

const ConfigNode* child(const ConfigNode& node, std::string_view word) {
  if (node.kind != ConfigNode::Kind::list) return node.find(word);
  std::size_t index = 0;
  const char* end = word.data() + word.size();
  const auto parsed = std::from_chars(word.data(), end, index);
  const bool is_index = parsed.ec == std::errc{} && parsed.ptr == end;
  return is_index && index < node.items.size() ? &node.items[index] : nullptr;
}

std::string what_there_is(const ConfigNode& node, std::string_view word) {
  if (node.kind == ConfigNode::Kind::list) {
    return fmt::format("; the list has {} elements, counted from 0", node.items.size());
  }
  if (node.kind != ConfigNode::Kind::mapping) return "; there is nothing below a value";
  std::vector<std::string> known;
  for (const auto& entry : node.entries) known.push_back(entry.key);
  const std::string nearest = config::suggestion(word, known);
  return nearest.empty() ? fmt::format("; known here: {}", fmt::join(known, ", ")) : nearest;
}

std::string text_of(std::string_view key, const ConfigNode& node) {
  if (node.kind == ConfigNode::Kind::null) return "null";
  if (node.kind == ConfigNode::Kind::scalar) return node.text;
  if (node.kind == ConfigNode::Kind::list) {
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      lines.push_back(text_of(fmt::format("{}.{}", key, i), node.items[i]));
    }
    return fmt::format("{}", fmt::join(lines, "\n"));
  }
  fail<ConfigError>("{}: is a section, which has no value of its own{}", key,
                    what_there_is(node, ""));
}

}  // namespace

std::string value_at(std::string_view key, const FieldWalk& root) {
  config::Problems problems;
  const ConfigNode tree = config::parse_yaml(to_yaml(root), "configuration", problems);
  const std::string dotted = config::with_dots(key);
  const ConfigNode* node = &tree;
  for (std::string_view rest = dotted; !rest.empty();) {
    const std::size_t end = std::min(rest.find('.'), rest.size());
    const ConfigNode* next = child(*node, rest.substr(0, end));
    if (next == nullptr) {
      fail<ConfigError>("{}: unknown key{}", key, what_there_is(*node, rest.substr(0, end)));
    }
    node = next;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return text_of(key, *node);
}

}  // namespace gda
