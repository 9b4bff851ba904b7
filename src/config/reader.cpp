// read_yaml: fills fields from a tree and collects everything that is wrong with it.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "config/constraints.h"
#include "config/scalars.h"
#include "config/tree.h"
#include "gda/core/error.h"
#include "gda/core/shell.h"

namespace gda {
namespace {

using config::ConfigNode;
using config::Place;
using config::Problem;
using config::Problems;

class Reader : public FieldVisitor {
 public:
  Reader(const ConfigNode& root, Problems& problems) : root_(root), problems_(problems) {
    frame_ = {.node = &root, .place = root.place};
  }

  void read(const FieldWalk& root) {
    if (frame_.node->kind != ConfigNode::Kind::mapping &&
        frame_.node->kind != ConfigNode::Kind::null) {
      report(frame_.place, "", "expected a mapping of sections, found " + frame_.node->describe());
      return;
    }
    root(*this);
    report_unknown_keys();
    // Rules presume that each field by itself is right.
    if (problems_.empty()) problems_ = std::move(rules_);
  }

  void field(const FieldInfo& info, bool& value) override { read_field(info, value); }
  void field(const FieldInfo& info, std::int64_t& value) override { read_field(info, value); }
  void field(const FieldInfo& info, double& value) override { read_field(info, value); }
  void field(const FieldInfo& info, std::string& value) override { read_field(info, value); }
  void field(const FieldInfo& info, std::vector<std::int64_t>& value) override {
    read_list(info, value, "a list of whole numbers");
  }
  void field(const FieldInfo& info, std::vector<double>& value) override {
    read_list(info, value, "a list of numbers");
  }
  void field(const FieldInfo& info, std::vector<std::string>& value) override {
    read_list(info, value, "a list of texts");
  }
  void field(const FieldInfo& info, Timeline& value) override;
  void field(const FieldInfo& info, WordOrList& value) override;
  void field(const FieldInfo& info, std::optional<double>& value) override {
    read_optional(info, value);
  }
  void field(const FieldInfo& info, std::optional<std::int64_t>& value) override {
    read_optional(info, value);
  }

  void rule(std::string_view key, bool holds, const std::string& message) override {
    if (!holds) {
      note(rules_, place_of(key),
           fmt::format("{}: {}", config::join_path(frame_.path, key), message));
    }
  }

  void section(const FieldInfo& info, const std::function<void()>& walk) override;
  void optional_section(const FieldInfo& info, bool& present,
                        const std::function<void()>& walk) override;
  void list(const FieldInfo& info, const std::function<std::size_t()>& size,
            const std::function<void(std::size_t)>& resize,
            const std::function<void(std::size_t)>& walk) override;

 private:
  // The mapping being visited; `node` is null when the file does not have it.
  struct Frame {
    const ConfigNode* node = nullptr;
    Place place = {};
    std::string path = {};
    std::vector<std::string> known = {};
  };

  // The value of a field, or null; a missing one is reported if it is required.
  const ConfigNode* take(const FieldInfo& info);
  const ConfigNode* take_former(const FieldInfo& info, const ConfigNode* current);
  void descend(std::string_view key, const ConfigNode* node, const std::function<void()>& walk);
  void report_unknown_keys();
  Place place_of(std::string_view key) const;

  void report(const Place& place, std::string_view key, const std::string& problem) {
    if (problem.empty()) return;
    const std::string path = config::join_path(frame_.path, key);
    note(problems_, place, path.empty() ? problem : fmt::format("{}: {}", path, problem));
  }

  static std::string check(const FieldInfo& /*info*/, bool /*value*/) { return {}; }
  static std::string check(const FieldInfo& info, std::int64_t value) {
    return config::range_problem(info, value);
  }
  static std::string check(const FieldInfo& info, double value) {
    return config::range_problem(info, value);
  }
  static std::string check(const FieldInfo& info, const std::string& value) {
    return config::choice_problem(info, value);
  }

  static std::string expand(const FieldInfo& info, std::string& value) {
    try {
      if (info.is_path) value = expand_path(value);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return {};
  }

  template <class T>
  void read_node(const FieldInfo& info, std::string_view key, const ConfigNode& node, T& value) {
    std::string problem;
    if (config::read_scalar(node, value, problem)) {
      if constexpr (std::is_same_v<T, std::string>) problem = expand(info, value);
      if (problem.empty()) problem = check(info, value);
    }
    report(node.place, key, problem);
  }

  template <class T>
  void read_field(const FieldInfo& info, T& value) {
    if (const ConfigNode* node = take(info)) read_node(info, info.key, *node, value);
  }

  template <class T>
  void read_optional(const FieldInfo& info, std::optional<T>& value) {
    const ConfigNode* node = take(info);
    if (node == nullptr) return;
    value.reset();
    if (node->kind != ConfigNode::Kind::null) read_node(info, info.key, *node, value.emplace());
  }

  template <class T>
  void read_list(const FieldInfo& info, std::vector<T>& value, std::string_view expected) {
    const ConfigNode* node = take(info);
    if (node == nullptr) return;
    if (node->kind != ConfigNode::Kind::list) {
      report(node->place, info.key,
             fmt::format("expected {}, found {}", expected, node->describe()));
      return;
    }
    read_items(info, *node, value);
  }

  template <class T>
  void read_items(const FieldInfo& info, const ConfigNode& node, std::vector<T>& value) {
    value.assign(node.items.size(), T{});
    for (std::size_t i = 0; i < value.size(); ++i) {
      read_node(info, fmt::format("{}.{}", info.key, i), node.items[i], value[i]);
    }
  }

  const ConfigNode& root_;
  Problems& problems_;
  Problems rules_;
  Frame frame_;
  std::vector<const ConfigNode*> former_;  // values that were taken by a former name
};

const ConfigNode* Reader::take(const FieldInfo& info) {
  frame_.known.emplace_back(info.key);
  const ConfigNode* node = frame_.node != nullptr ? frame_.node->find(info.key) : nullptr;
  if (!info.formerly.empty()) node = take_former(info, node);
  if (node == nullptr && info.required) {
    report(frame_.place, info.key, fmt::format("missing; it is required ({})", info.doc));
  }
  return node;
}

const ConfigNode* Reader::take_former(const FieldInfo& info, const ConfigNode* current) {
  const bool is_beside = info.formerly.find('.') == std::string_view::npos;
  const ConfigNode* former = is_beside ? frame_.node : &root_;
  for (std::string_view path = info.formerly; former != nullptr && !path.empty();) {
    const std::size_t end = std::min(path.find('.'), path.size());
    former = former->find(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  if (former == nullptr) return current;
  former_.push_back(former);
  if (current == nullptr) return former;
  // An override, by whichever name, replaces what the file says.
  const auto is_override = [](const ConfigNode* node) {
    return node->place.file == config::kCommandLine;
  };
  if (is_override(former) != is_override(current)) return is_override(former) ? former : current;
  const std::string key = config::join_path(frame_.path, info.key);
  note(problems_, former->place,
       fmt::format("{0}: is called {1} now, and {1} is given, too; give it once",
                   is_beside ? config::join_path(frame_.path, info.formerly) : info.formerly, key));
  return current;
}

void Reader::descend(std::string_view key, const ConfigNode* node,
                     const std::function<void()>& walk) {
  Frame outer = std::move(frame_);
  frame_ = {.node = node,
            .place = node != nullptr ? node->place : outer.place,
            .path = config::join_path(outer.path, key)};
  walk();
  report_unknown_keys();
  frame_ = std::move(outer);
}

void Reader::report_unknown_keys() {
  if (frame_.node == nullptr) return;
  for (const auto& [key, node] : frame_.node->entries) {
    if (std::find(frame_.known.begin(), frame_.known.end(), key) != frame_.known.end()) continue;
    if (std::find(former_.begin(), former_.end(), &node) != former_.end()) continue;
    std::string hint = config::suggestion(key, frame_.known);
    if (hint.empty()) hint = fmt::format("; known here: {}", fmt::join(frame_.known, ", "));
    report(node.place, key, "unknown key" + hint);
  }
}

Place Reader::place_of(std::string_view key) const {
  Place place = frame_.place;
  const ConfigNode* node = frame_.node;
  while (node != nullptr && !key.empty()) {
    const std::size_t end = std::min(key.find('.'), key.size());
    node = node->find(key.substr(0, end));
    if (node != nullptr) place = node->place;
    key.remove_prefix(std::min(end + 1, key.size()));
  }
  return place;
}

void Reader::field(const FieldInfo& info, Timeline& value) {
  const ConfigNode* node = take(info);
  if (node == nullptr) return;
  const std::size_t problems_before = problems_.size();
  if (node->kind == ConfigNode::Kind::list) {
    value.points.assign(node->items.size(), {});
    for (std::size_t i = 0; i < value.points.size(); ++i) {
      const std::string key = fmt::format("{}.{}", info.key, i);
      const ConfigNode& item = node->items[i];
      if (item.kind != ConfigNode::Kind::mapping) {
        report(item.place, key, "expected {step: ..., value: ...}, found " + item.describe());
        continue;
      }
      descend(key, &item, [&] {
        read_field({.key = "step", .doc = "step from 0", .required = true}, value.points[i].step);
        read_field({.key = "value", .doc = "value at that step", .required = true},
                   value.points[i].value);
      });
    }
  } else {
    double constant = 0;
    std::string problem;
    if (config::read_scalar(*node, constant, problem)) {
      value.points = {{0, constant}};
      report(node->place, info.key, config::range_problem(info, constant));
    } else {
      report(node->place, info.key,
             fmt::format("expected a number or a list of {{step, value}}, found {}",
                         node->describe()));
    }
  }
  if (problems_.size() == problems_before) {
    report(node->place, info.key, config::timeline_problem(info, value));
  }
}

void Reader::field(const FieldInfo& info, WordOrList& value) {
  const ConfigNode* node = take(info);
  if (node == nullptr) return;
  const std::size_t problems_before = problems_.size();
  value = {};
  if (node->kind == ConfigNode::Kind::list) {
    read_items({.key = info.key, .doc = info.doc}, *node, value.list);
  } else if (std::string problem; !config::read_scalar(*node, value.word, problem)) {
    report(node->place, info.key,
           fmt::format("expected {} or a list of texts, found {}", fmt::join(info.one_of, ", "),
                       node->describe()));
  }
  if (problems_.size() == problems_before) {
    report(node->place, info.key, config::word_or_list_problem(info, value));
  }
}

void Reader::section(const FieldInfo& info, const std::function<void()>& walk) {
  const ConfigNode* node = take(info);
  if (node == nullptr && info.required) return;
  // A key with nothing under it is a mapping whose keys are all commented out.
  const bool is_mapping = node == nullptr || node->kind == ConfigNode::Kind::mapping ||
                          node->kind == ConfigNode::Kind::null;
  if (!is_mapping) {
    report(node->place, info.key, "expected a mapping, found " + node->describe());
    return;
  }
  descend(info.key, node, walk);
}

void Reader::optional_section(const FieldInfo& info, bool& present,
                              const std::function<void()>& walk) {
  const ConfigNode* node = take(info);
  if (node == nullptr) return;
  present = node->kind == ConfigNode::Kind::mapping;
  if (present) {
    descend(info.key, node, walk);
  } else if (node->kind != ConfigNode::Kind::null) {
    report(node->place, info.key, "expected a mapping or null, found " + node->describe());
  }
}

void Reader::list(const FieldInfo& info, const std::function<std::size_t()>& /*size*/,
                  const std::function<void(std::size_t)>& resize,
                  const std::function<void(std::size_t)>& walk) {
  const ConfigNode* node = take(info);
  if (node == nullptr) return;
  if (node->kind != ConfigNode::Kind::list) {
    report(node->place, info.key, "expected a list, found " + node->describe());
    return;
  }
  resize(0);
  resize(node->items.size());
  for (std::size_t i = 0; i < node->items.size(); ++i) {
    const std::string key = fmt::format("{}.{}", info.key, i);
    const ConfigNode& item = node->items[i];
    if (item.kind != ConfigNode::Kind::mapping) {
      report(item.place, key, "expected a mapping, found " + item.describe());
      continue;
    }
    descend(key, &item, [&] { walk(i); });
  }
}

}  // namespace

void read_yaml(std::string_view text, std::string_view origin,
               const std::vector<std::string>& overrides, const FieldWalk& root) {
  Problems problems;
  ConfigNode tree = config::parse_yaml(text, std::string(origin), problems);
  for (const std::string& override_text : overrides) {
    config::apply_override(tree, override_text, problems);
  }
  Reader(tree, problems).read(root);
  if (problems.empty()) return;
  std::stable_sort(problems.begin(), problems.end(),
                   [](const Problem& a, const Problem& b) { return a.place.line < b.place.line; });
  std::vector<std::string> lines;
  for (const Problem& problem : problems) {
    lines.push_back(fmt::format("{}: {}", problem.place.str(), problem.text));
  }
  fail<ConfigError>("{}", fmt::join(lines, "\n"));
}

}  // namespace gda
