// Width to any size: new coordinates that contribute nothing at first (composable
// function-preserving expansions, arXiv 2308.06103).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "gda/config/fields.h"
#include "gda/growth/growth_map.h"

namespace gda {

// Sizes after growth; those not given stay.
// hidden_size d -> D: new columns of the embedding and new rows of o_proj and down_proj are zero,
// so
//   the new coordinates of the residual stream stay 0. Norms: g' = g sqrt(d / D), and
//   rms_norm_eps' = rms_norm_eps d / D, because the mean of squares is taken over D. New columns of
//   what reads the stream begin by the initialisers, new norm weights at 1.
// intermediate_size: new rows of gate and up begin by the initialisers, new columns of down at
// zero.
//   PolyNorm's means are taken over the units: new rows of gate are zero then, and with F -> F'
//   weight' = weight sqrt(F / F'), poly_norm_eps' = poly_norm_eps F / F'.
// heads (num_attention_heads, or signal_heads): behind the old ones of each key-value head (of each
//   noise
//   head); new rows of q_proj begin by the initialisers, new columns of o_proj at zero.
// num_key_value_heads: complete groups, each with as many heads as an old one (and its noise
//   heads), behind the old groups; begun as new heads are.
// The function does not change.
struct ZeroPad {
  static constexpr std::string_view kName = "zero_pad";
  static constexpr std::string_view kSummary =
      "Any width: new coordinates that contribute nothing at first. Keeps the function.";
  static constexpr std::string_view kExample = "--hidden-size 9216 --intermediate-size 30720";

  std::optional<std::int64_t> hidden_size = {};
  std::optional<std::int64_t> intermediate_size = {};
  std::optional<std::int64_t> heads = {};
  std::optional<std::int64_t> num_key_value_heads = {};

  void fields(FieldVisitor& visit);
  // ConfigError if a size is less than the model's, or heads do not divide.
  GrowthMap map(const ModelConfig& from) const;
  bool operator==(const ZeroPad&) const = default;
};

}  // namespace gda
