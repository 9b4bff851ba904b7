#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "cli/inspection.h"

#include "gda/core/text.h"

namespace gda::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string size_text(double bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (bytes >= 1000 && unit + 1 < kUnits.size()) {
    bytes /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

// 12703860896 -> 12,703,860,896
std::string count_text(std::int64_t count) {
  std::string text = std::to_string(count);
  for (auto place = static_cast<std::ptrdiff_t>(text.size()) - 3; place > 0; place -= 3) {
    text.insert(static_cast<std::size_t>(place), 1, ',');
  }
  return text;
}

std::string row(std::string_view label, std::string_view text) {
  return fmt::format("  {:<12}{}\n", label, text);
}

std::string number(const Json& facts, const char* key) {
  return facts[key].dump();
}

std::int64_t integer(const Json& facts, const char* key) {
  return facts[key].get<std::int64_t>();
}

std::string heads_text(const Json& model) {
  const std::string keys = counted(integer(model, "num_key_value_heads"), "key-value head") +
                           " of " + number(model, "head_dim");
  if (!model.contains("signal_heads")) {
    return counted(integer(model, "num_attention_heads"), "head") + ", " + keys;
  }
  const auto signal = model["signal_heads"].get<std::int64_t>();
  const auto noise = model["noise_heads"].get<std::int64_t>();
  return fmt::format("{} signal + {} ({}:1), {}", signal, counted(noise, "noise head"),
                     signal / noise, keys);
}

std::string model_rows(const Json& facts) {
  const Json& model = facts["model"];
  const bool tied = model["tie_word_embeddings"].get<bool>();
  std::string text =
      row("attention", model["attention"].get<std::string>() + ", " + heads_text(model));
  text +=
      row("model", fmt::format("{}, hidden {}, feed-forward {} {}, vocabulary {}{}, context {}",
                               counted(integer(model, "num_hidden_layers"), "layer"),
                               number(model, "hidden_size"), number(model, "intermediate_size"),
                               model["hidden_act"].get<std::string>(), number(model, "vocab_size"),
                               tied ? " (tied)" : "", number(model, "max_position_embeddings")));
  return text + row("parameters", count_text(facts["parameters"].get<std::int64_t>()));
}

// "model.layers.3.mlp.up_proj.weight" -> "model.layers.*.mlp.up_proj.weight"
std::string without_layer(const std::string& name) {
  constexpr std::string_view kLayers = "model.layers.";
  const std::size_t start = name.find(kLayers);
  if (start == std::string::npos) return name;
  const std::size_t digits = start + kLayers.size();
  const std::size_t end = name.find_first_not_of("0123456789", digits);
  if (end == std::string::npos || end == digits) return name;
  return fmt::format("{}*{}", name.substr(0, digits), name.substr(end));
}

std::string tensor_rows(const Json& tensors, bool all) {
  struct Line {
    std::string name;
    std::string type;
    std::int64_t count = 0;
  };
  std::vector<Line> lines;
  std::map<std::pair<std::string, std::string>, std::size_t> index;
  std::size_t width = 0;
  for (const Json& tensor : tensors) {
    const auto full = tensor["name"].get<std::string>();
    std::vector<std::int64_t> shape = tensor["shape"].get<std::vector<std::int64_t>>();
    const std::string type =
        fmt::format("{}[{}]", tensor["dtype"].get<std::string>(), fmt::join(shape, ", "));
    const std::string name = all ? full : without_layer(full);
    const auto [place, is_first] = index.try_emplace({name, type}, lines.size());
    if (is_first) lines.push_back({name, type, 0});
    ++lines[place->second].count;
    width = std::max(width, name.size());
  }
  std::string text = row("tensors", std::to_string(tensors.size()));
  for (const Line& line : lines) {
    const std::string times = line.count > 1 ? fmt::format("  x {}", line.count) : "";
    text += fmt::format("    {:<{}}  {}{}\n", line.name, width, line.type, times);
  }
  return text;
}

std::string file_rows(const Json& files) {
  double total = 0;
  std::size_t width = 0;
  for (const Json& file : files) {
    total += file["bytes"].get<double>();
    width = std::max(width, file["name"].get<std::string>().size());
  }
  std::string text = row("files", size_text(total));
  for (const Json& file : files) {
    text += fmt::format("    {:<{}}  {:>9}\n", file["name"].get<std::string>(), width,
                        size_text(file["bytes"].get<double>()));
  }
  return text;
}

// What train.trainable: new trains, and what counts its updates from later than the run's
// beginning.
std::string growth_rows(const Json& facts) {
  std::string text;
  if (facts.contains("added")) {
    const Json& added = facts["added"];
    text += row("added",
                fmt::format("{} by growth, from {} to {}", counted(added.size(), "parameter"),
                            added.front().get<std::string>(), added.back().get<std::string>()));
  }
  if (facts.contains("later_beginnings")) {
    const Json& later = facts["later_beginnings"];
    const std::string first = number(later, "first_update");
    const std::string last = number(later, "last_update");
    text += row("began later",
                fmt::format("{}, in part or whole, at update {}",
                            counted(integer(later, "parameters"), "parameter"),
                            first == last ? first : fmt::format("{} to {}", first, last)));
  }
  return text;
}

std::string checkpoint_rows(const Json& facts, bool all_tensors) {
  const auto states = facts["optimizer_states"].get<std::vector<std::string>>();
  const auto ranks = facts["world_size"].get<std::int64_t>();
  std::string text =
      row("step", fmt::format("{}, written by {}", number(facts, "step"), counted(ranks, "rank")));
  if (facts.contains("unhealthy")) {
    text += row("unhealthy", facts["unhealthy"].get<std::string>());
  }
  text += model_rows(facts);
  if (facts.contains("growth")) {
    const Json& growth = facts["growth"];
    const auto first = growth["first_step"].get<std::int64_t>();
    text += row("growth",
                fmt::format("mask {:.4g}; it reaches 1 at step {}", growth["mask"].get<double>(),
                            first + growth["steps"].get<std::int64_t>()));
  }
  text += row("optimizer", states.empty() ? "none" : fmt::format("{}", fmt::join(states, ", ")));
  text += growth_rows(facts);
  text += tensor_rows(facts["tensors"], all_tensors);
  text += file_rows(facts["files"]);
  return text + row("hashes", facts["verified"].get<bool>() ? "all files match"
                                                            : "not compared; --verify does");
}

std::string run_rows(const Json& facts, bool all_tensors) {
  std::string text;
  for (const Json& entry : facts["checkpoints"]) {
    std::string state = entry["fault"].is_null() ? size_text(entry["bytes"].get<double>())
                                                 : entry["fault"].get<std::string>();
    if (entry.contains("unhealthy")) {
      state += ", unhealthy: " + entry["unhealthy"].get<std::string>();
    }
    text += fmt::format("  step {:<10}  {}\n", number(entry, "step"), state);
  }
  if (facts["newest"].is_null()) return text + "no checkpoint is complete\n";
  return text + "newest: " + facts["newest"]["path"].get<std::string>() + "\n" +
         checkpoint_rows(facts["newest"], all_tensors);
}

std::string dataset_rows(const Json& facts) {
  std::string text;
  for (const Json& dataset : facts["datasets"]) {
    text += fmt::format("  {}  {} {}, {} {}, {}\n", dataset["file"].get<std::string>(),
                        count_text(integer(dataset, "tokens")),
                        plural(integer(dataset, "tokens"), "token"),
                        count_text(integer(dataset, "documents")),
                        plural(integer(dataset, "documents"), "document"),
                        size_text(dataset["bytes"].get<double>()));
  }
  return text + row("content", facts["verified"].get<bool>() ? "every token was read"
                                                             : "not read; --verify does");
}

}  // namespace

std::string to_page(const Json& facts, bool all_tensors) {
  const auto kind = facts["kind"].get<std::string>();
  const std::string title = kind + " " + facts["path"].get<std::string>() + "\n";
  if (kind == "checkpoint") return title + checkpoint_rows(facts, all_tensors);
  if (kind == "run") return title + run_rows(facts, all_tensors);
  if (kind == "token dataset") return title + dataset_rows(facts);
  if (kind == "model folder") {
    return title + model_rows(facts) + tensor_rows(facts["tensors"], all_tensors) +
           file_rows(facts["files"]);
  }
  return title + row("size", size_text(facts["bytes"].get<double>())) +
         row("elements", count_text(facts["parameters"].get<std::int64_t>())) +
         tensor_rows(facts["tensors"], all_tensors);
}

}  // namespace gda::cli
