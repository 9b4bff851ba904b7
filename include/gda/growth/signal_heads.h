// Group-differentiated growth: more signal heads, the same noise heads, keys and values
// (Grouped Differential Attention, arXiv 2510.06949).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "gda/config/fields.h"
#include "gda/growth/growth_map.h"

namespace gda {

// factor: replicates every signal head inside its group. q_proj: the head's rows are copied;
// o_proj: its columns are copied and divided by the factor. The function does not change. Replicas
// would receive equal gradients for ever, so o_proj's copies are told apart by paired noise (+N on
// one, -N on the next; an odd one out gets none), which does not change the function either.
// add: new signal heads for each noise head, behind its old ones; q_proj rows from
// N(0, initializer_range^2), o_proj columns zero. The function does not change.
struct SignalHeads {
  static constexpr std::string_view kName = "signal_heads";
  static constexpr std::string_view kSummary =
      "More signal heads; noise heads, keys and values stay. Keeps the function.";
  static constexpr std::string_view kExample = "--factor 4";

  std::optional<std::int64_t> factor = {};
  std::optional<std::int64_t> add = {};
  double noise_db = 10;

  void fields(FieldVisitor& visit);
  // ConfigError unless the attention is differential or grouped_differential.
  GrowthMap map(const ModelConfig& from) const;
  bool operator==(const SignalHeads&) const = default;
};

}  // namespace gda
