// Width by whole multiples: HyperCloning (arXiv 2409.12903).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "gda/config/fields.h"
#include "gda/growth/growth_map.h"

namespace gda {

// The residual stream becomes n copies of itself, the feed-forward block's units f copies, and,
// with heads = multiply, all heads (queries, keys, values, noise heads) n copies with head_dim
// kept; h = n then, else 1. The function does not change.
//   embedding             columns tiled
//   norms                 tiled (the RMS of a tiled vector is that of the vector); the final norm
//   of
//                         a model with tied embeddings divided by n, as the embedding cannot be
//   q, k, v, lambda_proj  columns tiled, / n; rows tiled h-fold
//   o_proj                rows tiled; columns tiled h-fold, / h
//   gate, up              rows tiled f-fold; columns tiled, / n
//   down                  rows tiled; columns tiled f-fold, / f
//   lm_head               columns tiled, / n
// Paired noise on the tiled input columns (+N on one copy, -N on the next) tells copies apart.
enum class WidthHeads : std::uint8_t { keep, multiply };
template <>
inline constexpr auto kWordsOf<WidthHeads> = words("keep", "multiply");

struct Width {
  static constexpr std::string_view kName = "width";
  static constexpr std::string_view kSummary =
      "Multiply the width: copies of the residual stream and of the feed-forward units "
      "(HyperCloning). Keeps the function.";
  static constexpr std::string_view kExample = "--hidden-factor 2 --feed-forward-factor 2";

  std::int64_t hidden_factor = 1;        // n
  std::int64_t feed_forward_factor = 1;  // f
  WidthHeads heads = WidthHeads::keep;
  double noise_db = 10;

  void fields(FieldVisitor& visit);
  GrowthMap map(const ModelConfig& from) const;
  bool operator==(const Width&) const = default;
};

}  // namespace gda
