// Depth by repetition: G_stack (arXiv 2405.15319), and interpolation. It does not keep the
// function.
#pragma once

#include <cstdint>
#include <string_view>

#include "gda/config/fields.h"
#include "gda/growth/growth_map.h"

namespace gda {

// Layers 0 .. L - 1 repeated `factor` times, one stack on the other; or, interpolated, each layer
// `factor` times in its place. Copies keep moments and lambda_init of their layer. The loss jumps,
// and falls again within a small share of the steps that it took.
struct Stack {
  static constexpr std::string_view kName = "stack";
  static constexpr std::string_view kSummary =
      "Repeat all layers, or each in its place. Does NOT keep the function: the loss will jump.";
  static constexpr std::string_view kExample = "--factor 4";

  std::int64_t factor = 4;
  bool interpolate = false;

  void fields(FieldVisitor& visit);
  GrowthMap map(const ModelConfig& from) const;
  bool operator==(const Stack&) const = default;
};

}  // namespace gda
