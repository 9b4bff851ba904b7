#include "cli/growth_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

#include "gda/core/text.h"
#include "gda/report/readable.h"

namespace gda::cli {
namespace {

struct Size {
  const char* key;
  const char* label;
  std::int64_t before;
  std::int64_t after;
};

// Of both models; those of the configuration's keys that this type of attention has.
std::vector<Size> sizes_of(const ModelConfig& a, const ModelConfig& b) {
  const AttentionConfig& x = a.attention;
  const AttentionConfig& y = b.attention;
  std::vector<Size> sizes = {
      {"hidden_size", "hidden size", a.hidden_size, b.hidden_size},
      {"num_hidden_layers", "layers", a.num_hidden_layers, b.num_hidden_layers},
      {"intermediate_size", "feed-forward", a.intermediate_size, b.intermediate_size}};
  if (x.is_differential()) {
    sizes.push_back({"signal_heads", "signal heads", x.signal_heads, y.signal_heads});
    sizes.push_back({"noise_heads", "noise heads", x.noise_heads, y.noise_heads});
  } else {
    sizes.push_back(
        {"num_attention_heads", "query heads", x.num_attention_heads, y.num_attention_heads});
  }
  sizes.push_back(
      {"num_key_value_heads", "key-value heads", x.num_key_value_heads, y.num_key_value_heads});
  return sizes;
}

// All parameters of one kind, in whatever layer.
struct Kind {
  std::string name;  // model.layers.*.mlp.up_proj.weight
  std::string before, after;
  std::int64_t layers_before = 0, layers_after = 0;
  bool changed() const { return before != after || layers_before != layers_after; }
};

std::string kind_name(const ParameterSpec& spec) {
  if (spec.layer < 0) return spec.name;
  const std::string prefix = fmt::format("model.layers.{}.", spec.layer);
  return "model.layers.*." + spec.name.substr(prefix.size());
}

std::vector<Kind> changed_kinds(const GrowthMap& map) {
  std::vector<Kind> kinds;
  const auto find = [&](const ParameterSpec& spec) -> Kind& {
    const std::string name = kind_name(spec);
    const auto known = std::find_if(kinds.begin(), kinds.end(),
                                    [&](const Kind& kind) { return kind.name == name; });
    if (known != kinds.end()) return *known;
    kinds.push_back({.name = name, .before = {}, .after = {}});
    return kinds.back();
  };
  for (const ParameterSpec& spec : parameter_specs(map.to)) {
    Kind& kind = find(spec);
    kind.after = spec.shape.str();
    kind.layers_after += 1;
  }
  for (const ParameterSpec& spec : parameter_specs(map.from)) {
    Kind& kind = find(spec);
    kind.before = spec.shape.str();
    kind.layers_before += 1;
  }
  std::erase_if(kinds, [](const Kind& kind) { return !kind.changed(); });
  return kinds;
}

struct Cost {
  std::int64_t parameters = 0;
  double flops = 0;
};

Cost cost_of(const ModelConfig& model, std::int64_t sequence_length) {
  return {.parameters = parameter_count(model),
          .flops = training_flops_per_token(model, sequence_length).causal};
}

std::string function_statement(const GrowthMap& map) {
  if (!map.preserving) return "NOT kept: the loss will jump";
  if (!map.ramp) return "kept: the new model computes what the old one does";
  return fmt::format(
      "kept where the ramp begins (m = 0); new weights are faded in over {} of training",
      counted(map.ramp->steps, "step"));
}

std::string times_layers(std::int64_t layers) {
  return layers > 1 ? fmt::format(" x {}", layers) : "";
}

}  // namespace

void print_page(const GrowthReport& report) {
  const ModelConfig& from = report.map.from;
  const ModelConfig& to = report.map.to;
  for (const Size& size : sizes_of(from, to)) {
    if (size.before == size.after) continue;
    fmt::print("{:<15} {} -> {}", size.label, size.before, size.after);
    const bool is_signal = std::string_view(size.key) == "signal_heads";
    if (is_signal) fmt::print(" ({}:1 -> {}:1)", from.attention.ratio(), to.attention.ratio());
    fmt::print("\n");
  }
  const Cost before = cost_of(from, report.sequence_length);
  const Cost after = cost_of(to, report.sequence_length);
  fmt::print("parameters      {} -> {} ({:.3f}x)\n", readable_count(before.parameters),
             readable_count(after.parameters),
             static_cast<double>(after.parameters) / static_cast<double>(before.parameters));
  fmt::print("FLOPs a token   {:.4g} -> {:.4g} ({:.3f}x, training, causal)\n", before.flops,
             after.flops, after.flops / before.flops);
  fmt::print("disk            {} needed, {} free\n",
             readable_bytes(static_cast<std::int64_t>(report.disk.needed)),
             readable_bytes(static_cast<std::int64_t>(report.disk.free)));
  fmt::print("tensors that change\n");
  for (const Kind& kind : changed_kinds(report.map)) {
    const std::string old =
        kind.layers_before == 0 ? "none" : kind.before + times_layers(kind.layers_before);
    fmt::print("  {:<46} {} -> {}{}\n", kind.name, old, kind.after,
               times_layers(kind.layers_after));
  }
  fmt::print("function        {}\n", function_statement(report.map));
}

nlohmann::ordered_json to_json(const GrowthReport& report) {
  const Cost before = cost_of(report.map.from, report.sequence_length);
  const Cost after = cost_of(report.map.to, report.sequence_length);
  nlohmann::ordered_json json;
  for (const Size& size : sizes_of(report.map.from, report.map.to)) {
    json[size.key] = {size.before, size.after};
  }
  json["parameters"] = {before.parameters, after.parameters};
  json["flops_per_token_causal"] = {before.flops, after.flops};
  json["disk_bytes"] = {{"needed", report.disk.needed}, {"free", report.disk.free}};
  json["preserving"] = report.map.preserving;
  if (report.map.ramp) json["ramp_steps"] = report.map.ramp->steps;
  json["tensors"] = nlohmann::ordered_json::array();
  for (const Kind& kind : changed_kinds(report.map)) {
    json["tensors"].push_back({{"name", kind.name},
                               {"before", kind.before},
                               {"after", kind.after},
                               {"layers", {kind.layers_before, kind.layers_after}}});
  }
  return json;
}

void print_exactness(const GrowthMap& map, const Exactness& exactness, const std::string& origin) {
  fmt::print(
      "exactness       largest logit difference {:.3g} absolute, {:.3g} relative (fp32{}, {} "
      "of {})\n",
      exactness.largest_difference, exactness.relative(), map.ramp ? ", m = 0" : "",
      counted(exactness.tokens, "token"), origin);
}

nlohmann::ordered_json to_json(const Exactness& exactness, const std::string& origin) {
  return {{"absolute", exactness.largest_difference},
          {"relative", exactness.relative()},
          {"tokens", exactness.tokens},
          {"origin", origin}};
}

}  // namespace gda::cli
