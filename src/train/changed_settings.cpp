#include "train/changed_settings.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <map>

namespace gda {
namespace {

using Settings = std::map<std::string, std::string>;

void collect(const YAML::Node& node, const std::string& path, Settings& settings) {
  if (node.IsMap()) {
    for (const auto& entry : node) {
      const auto key = entry.first.as<std::string>();
      collect(entry.second, path.empty() ? key : fmt::format("{}.{}", path, key), settings);
    }
  } else if (node.IsSequence() && node.size() > 0 && !node[0].IsScalar()) {
    for (std::size_t i = 0; i < node.size(); ++i) {
      collect(node[i], fmt::format("{}.{}", path, i), settings);
    }
  } else {
    settings[path] = node.IsNull() ? "null" : YAML::Dump(node);
  }
}

Settings settings_of(std::string_view yaml) {
  Settings settings;
  collect(YAML::Load(std::string(yaml)), "", settings);
  return settings;
}

bool matters(const std::string& path) {
  for (const std::string_view part : {"logging.", "checkpoint.", "eval.", "train.sample."}) {
    if (path.starts_with(part)) return false;
  }
  return path != "train.max_minutes" && path != "parallel.timeout_seconds";
}

}  // namespace

std::vector<std::string> changed_settings(std::string_view before, std::string_view after) {
  if (before.empty()) return {};
  const Settings old_settings = settings_of(before);
  const Settings new_settings = settings_of(after);
  Settings all = old_settings;
  all.insert(new_settings.begin(), new_settings.end());
  std::vector<std::string> changes;
  for (const auto& [path, unused] : all) {
    const auto value = [&path = path](const Settings& settings) {
      const auto found = settings.find(path);
      return found == settings.end() ? std::string("(not set)") : found->second;
    };
    const std::string from = value(old_settings);
    const std::string to = value(new_settings);
    if (from != to && matters(path)) changes.push_back(fmt::format("{}: {} -> {}", path, from, to));
  }
  return changes;
}

}  // namespace gda
