// An output projection of its own.
#pragma once

#include <string_view>

#include "gda/config/fields.h"
#include "gda/growth/growth_map.h"

namespace gda {

// lm_head begins as a copy of the embedding, which both were until now. The function does not
// change. The embedding's moments are of the sum of two gradients, which cannot be told apart, so
// those of both begin at zero.
struct Untie {
  static constexpr std::string_view kName = "untie";
  static constexpr std::string_view kSummary =
      "Give a model with tied embeddings an output projection of its own. Keeps the function.";
  static constexpr std::string_view kExample = "";

  void fields(FieldVisitor& visit);
  // ConfigError unless the embeddings are tied.
  GrowthMap map(const ModelConfig& from) const;
  bool operator==(const Untie&) const = default;
};

}  // namespace gda
