#include "config/tree.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

#include "gda/core/error.h"

namespace gda::config {
namespace {

// Builds a tree from the events of one document. (YAML::Node would not tell quoted scalars from
// plain ones, nor the line of a key from that of its value.)
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(const std::string& origin, Problems& problems)
      : origin_(origin), problems_(problems) {}

  ConfigNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    ConfigNode node = make(ConfigNode::Kind::null, mark);
    // A plain `null` used as a key.
    node.text = "null";
    add(std::move(node), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    ConfigNode node = anchors_[anchor];
    node.place = place_of(mark);
    add(std::move(node), 0);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    ConfigNode node = make(ConfigNode::Kind::scalar, mark);
    node.text = value;
    // yaml-cpp marks plain scalars with "?".
    node.quoted = tag != "?";
    add(std::move(node), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open_.push_back({.node = make(ConfigNode::Kind::list, mark), .anchor = anchor});
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open_.push_back({.node = make(ConfigNode::Kind::mapping, mark), .anchor = anchor});
  }
  void OnMapEnd() override { close(); }

 private:
  // A list or mapping whose end has not been seen.
  struct Open {
    ConfigNode node;
    YAML::anchor_t anchor = 0;
    bool has_key = false;
    bool has_usable_key = false;
    std::string key = {};
    Place key_place = {};
  };

  Place place_of(const YAML::Mark& mark) const {
    return {.file = origin_, .line = origin_is_file() ? mark.line + 1 : 0};
  }
  // Overrides are parsed from "command line", which has no lines.
  bool origin_is_file() const { return origin_ != kCommandLine; }
  ConfigNode make(ConfigNode::Kind kind, const YAML::Mark& mark) const {
    ConfigNode node;
    node.kind = kind;
    node.place = place_of(mark);
    return node;
  }

  void close() {
    Open closed = std::move(open_.back());
    open_.pop_back();
    add(std::move(closed.node), closed.anchor);
  }

  void add(ConfigNode node, YAML::anchor_t anchor) {
    if (anchor != 0) anchors_[anchor] = node;
    if (open_.empty()) {
      root_ = std::move(node);
      root_.place.line = 0;
    } else if (open_.back().node.kind == ConfigNode::Kind::list) {
      open_.back().node.items.push_back(std::move(node));
    } else if (!open_.back().has_key) {
      take_key(open_.back(), node);
    } else {
      add_entry(open_.back(), std::move(node));
    }
  }

  void take_key(Open& mapping, const ConfigNode& node) {
    mapping.has_usable_key =
        node.kind == ConfigNode::Kind::scalar || node.kind == ConfigNode::Kind::null;
    if (!mapping.has_usable_key) {
      note(problems_, node.place, "a key must be a word, found " + node.describe());
    }
    mapping.has_key = true;
    mapping.key = node.text;
    mapping.key_place = node.place;
  }

  void add_entry(Open& mapping, ConfigNode node) {
    mapping.has_key = false;
    if (!mapping.has_usable_key) return;
    node.place = mapping.key_place;
    if (const ConfigNode* first = mapping.node.find(mapping.key)) {
      problems_.push_back(
          {node.place,
           fmt::format("key \"{}\" given twice, first {}", mapping.key,
                       first->place.line > 0 ? fmt::format("on line {}", first->place.line)
                                             : "in the same value")});
      return;
    }
    mapping.node.entries.push_back({.key = mapping.key, .value = std::move(node)});
  }

  std::string origin_;
  Problems& problems_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, ConfigNode> anchors_;
  ConfigNode root_;
};

}  // namespace

void note(Problems& problems, Place place, std::string text) {
  problems.push_back({.place = std::move(place), .text = std::move(text)});
}

std::string Place::str() const {
  return line > 0 ? fmt::format("{}:{}", file, line) : file;
}

const ConfigNode* ConfigNode::find(std::string_view key) const {
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const auto& entry) { return entry.key == key; });
  return found == entries.end() ? nullptr : &found->value;
}

ConfigNode* ConfigNode::find(std::string_view key) {
  return const_cast<ConfigNode*>(static_cast<const ConfigNode*>(this)->find(key));
}

std::string ConfigNode::describe() const {
  switch (kind) {
    case Kind::null:
      return "null";
    case Kind::scalar:
      return fmt::format("\"{}\"", text);
    case Kind::list:
      return "a list";
    case Kind::mapping:
      return "a mapping";
  }
  return {};
}

ConfigNode parse_yaml(std::string_view text, const std::string& origin, Problems& problems) {
  std::istringstream stream{std::string(text)};
  TreeBuilder builder(origin, problems);
  try {
    YAML::Parser parser(stream);
    const bool has_document = parser.HandleNextDocument(builder);
    ConfigNode root = builder.take();
    root.place = {.file = origin};
    TreeBuilder second(origin, problems);
    if (has_document && parser.HandleNextDocument(second)) {
      fail<ConfigError>("{}: expected one YAML document, found a second one after \"---\"", origin);
    }
    return root;
  } catch (const YAML::Exception& error) {
    const int line = origin == kCommandLine ? 0 : error.mark.line + 1;
    // YAML takes *word for a reference.
    const bool is_reference = error.msg.find("alias") != std::string::npos ||
                              error.msg.find("anchor") != std::string::npos;
    fail<ConfigError>(
        "{}: not valid YAML: {} (column {}){}", Place{origin, line}.str(), error.msg,
        error.mark.column + 1,
        is_reference ? "; a word that begins with * or & has to be in quotes: \"*.mlp.*\"" : "");
  }
}

}  // namespace gda::config
