#include "train/changed_settings.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

namespace gda {
namespace {

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

bool matters(const std::string& path) {
  for (const std::string_view part : {"logging.", "checkpoint.", "eval.", "train.sample."}) {
    if (path.starts_with(part)) return false;
  }
  return path != "train.max_minutes" && path != "parallel.timeout_seconds";
}

// Of the model, what may change while its parameters stay: the arithmetic around them.
bool is_arithmetic_of_model(const std::string& path) {
  return path.starts_with("model.rope.") || path.ends_with("_eps") ||
         path == "model.max_position_embeddings";
}

// Whether a setting is of a growth stage that is done, and said what that did.
bool is_of_done_stage(const std::string& path, std::int64_t stages_done) {
  for (std::int64_t i = 0; i < stages_done; ++i) {
    for (const char* key : {"step", "tokens", "plan", "seed"}) {
      if (path.starts_with(fmt::format("growth.stages.{}.{}", i, key))) return true;
    }
  }
  return false;
}

// Why a change has no effect on a run that goes on; empty if it has one.
std::string_view reason_for_no_effect(const std::string& path, bool is_rounding_at_random,
                                      std::int64_t stages_done) {
  if (path == "train.init_from") return "only a new run begins with another model";
  if (path == "train.seed" && !is_rounding_at_random) return "the parameters have begun already";
  if (path.starts_with("model.") && !is_arithmetic_of_model(path)) {
    return "the model is the checkpoint's; gda grow makes it bigger";
  }
  if (is_of_done_stage(path, stages_done)) return "this growth stage is done";
  return {};
}

}  // namespace

Settings flat_settings(std::string_view yaml) {
  Settings settings;
  collect(YAML::Load(std::string(yaml)), "", settings);
  return settings;
}

std::vector<std::string> settings_without_effect(std::string_view before, std::string_view after,
                                                 std::int64_t stages_done) {
  if (before.empty()) return {};
  const Settings old_settings = flat_settings(before);
  const Settings new_settings = flat_settings(after);
  const auto rounding = new_settings.find("precision.rounding");
  const bool at_random = rounding != new_settings.end() && rounding->second == "stochastic";
  std::vector<std::string> lines;
  for (const auto& [path, from] : old_settings) {
    const auto to = new_settings.find(path);
    if (to != new_settings.end() && to->second == from) continue;
    const std::string_view reason = reason_for_no_effect(path, at_random, stages_done);
    if (reason.empty()) continue;
    lines.push_back(fmt::format("{}: {} -> {}: {}", path, from,
                                to == new_settings.end() ? "(not set)" : to->second, reason));
  }
  return lines;
}

std::vector<std::string> changed_settings(std::string_view before, std::string_view after) {
  if (before.empty()) return {};
  const Settings old_settings = flat_settings(before);
  const Settings new_settings = flat_settings(after);
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
