#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "config/constraints.h"
#include "config/tree.h"
#include "gda/core/error.h"
#include "gda/core/text.h"

namespace gda::config {
namespace {

// The element of a list that `word` indexes, or null with a problem noted.
ConfigNode* element_of(ConfigNode& list, std::string_view path, std::string_view word,
                       Problems& problems) {
  std::size_t index = 0;
  const char* end = word.data() + word.size();
  const auto parsed = std::from_chars(word.data(), end, index);
  if (parsed.ec == std::errc{} && parsed.ptr == end && index < list.items.size()) {
    return &list.items[index];
  }
  note(problems, {kCommandLine},
       fmt::format("{}: expected the index of one of {}, counted from 0, "
                   "found \"{}\"",
                   path, counted(list.items.size(), "element"), word));
  return nullptr;
}

// The value of a key, made if need be. What was null or a scalar becomes a mapping.
ConfigNode* value_of(ConfigNode& parent, std::string_view key) {
  if (parent.kind != ConfigNode::Kind::mapping) {
    const Place place{kCommandLine};
    parent = ConfigNode{};
    parent.kind = ConfigNode::Kind::mapping;
    parent.place = place;
  }
  if (ConfigNode* existing = parent.find(key)) return existing;
  ConfigNode made;
  made.place = {kCommandLine};
  parent.entries.push_back({.key = std::string(key), .value = std::move(made)});
  return &parent.entries.back().value;
}

}  // namespace

std::string with_dots(std::string_view path) {
  std::string dotted;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const std::size_t close = path[i] == '[' ? path.find(']', i) : std::string_view::npos;
    const std::size_t digits =
        close == std::string_view::npos
            ? 0
            : std::min(path.find_first_not_of("0123456789", i + 1), path.size()) - i - 1;
    if (digits > 0 && i + 1 + digits == close) {
      dotted += '.';
      dotted += path.substr(i + 1, digits);
      i = close;
    } else {
      dotted += path[i];
    }
  }
  return dotted;
}

void apply_override(ConfigNode& root, const std::string& text, Problems& problems) {
  const std::size_t equals = text.find('=');
  const std::string dotted = with_dots(text.substr(0, equals));
  const std::string_view path = dotted;
  const bool has_empty_key = path.empty() || path.front() == '.' || path.back() == '.' ||
                             path.find("..") != std::string_view::npos;
  if (equals == std::string::npos || has_empty_key) {
    note(problems, {kCommandLine}, fmt::format("expected key.path=value, found \"{}\"", text));
    return;
  }
  ConfigNode value = parse_yaml(std::string_view(text).substr(equals + 1), kCommandLine, problems);

  ConfigNode* node = &root;
  std::string walked;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('.', begin), path.size());
    const std::string_view word = path.substr(begin, end - begin);
    node = node->kind == ConfigNode::Kind::list ? element_of(*node, walked, word, problems)
                                                : value_of(*node, word);
    if (node == nullptr) return;
    walked = join_path(walked, word);
    begin = end + 1;
  }
  *node = std::move(value);
}

}  // namespace gda::config
