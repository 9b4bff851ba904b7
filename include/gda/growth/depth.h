// Depth by copies of layers that contribute nothing at first: LLaMA Pro (arXiv 2401.02415).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "gda/config/fields.h"
#include "gda/growth/growth_map.h"

namespace gda {

// A new layer copies an old one, with o_proj and down_proj zero; so the function does not change,
// and these two are all of it that has a gradient at first. Its moments begin at zero, and its
// updates are counted from now. A copy keeps the lambda_init of the layer that it copies.
// every:  behind each group of `every` layers, copies of the group's top `copies` layers. 32 layers
//         with every = 4 become 40; new are 4, 9, ..., 39. It must divide the number of layers.
// layers: that many layers in all, the new ones spread evenly.
// at:     the places of new layers in the new model, from 0. A run of k neighbouring ones copies
//         the k layers below it; at the bottom, the layers above it.
struct Depth {
  static constexpr std::string_view kName = "depth";
  static constexpr std::string_view kSummary =
      "More layers: copies that contribute nothing at first (LLaMA Pro). Keeps the function.";
  static constexpr std::string_view kExample = "--every 4";

  std::optional<std::int64_t> every = {};
  std::int64_t copies = 1;
  std::optional<std::int64_t> layers = {};
  std::vector<std::int64_t> at = {};

  void fields(FieldVisitor& visit);
  // ConfigError for places that are out of range or given twice, and groups that do not divide.
  GrowthMap map(const ModelConfig& from) const;
  bool operator==(const Depth&) const = default;
};

}  // namespace gda
