// Growth that is faded in: masked structure growth (Yao et al., arXiv 2305.02869).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "gda/config/fields.h"
#include "gda/growth/growth_map.h"

namespace gda {

// New weights begin by the initialisers, and a mask m rises from 0 to 1 over ramp_steps steps of
// the run (growth_state.h). At m = 0 the function is the old one; at m = 1 the model is an ordinary
// one. One dimension at a time: the new weights of two would meet in products that fade in as m^2,
// and a loss that rises could not be told from which it comes.
struct Masked {
  static constexpr std::string_view kName = "masked";
  static constexpr std::string_view kSummary =
      "New random weights, faded in during training by a mask that rises from 0 to 1 (masked "
      "structure growth). Keeps the function where the ramp begins.";
  static constexpr std::string_view kExample = "--hidden-size 9216 --ramp-steps 5000";

  // Sizes after growth, as ZeroPad's and Depth's; new layers are random ones.
  std::optional<std::int64_t> hidden_size = {};
  std::optional<std::int64_t> intermediate_size = {};
  std::optional<std::int64_t> heads = {};
  std::optional<std::int64_t> layers = {};
  std::vector<std::int64_t> at = {};
  std::int64_t ramp_steps = 5000;

  void fields(FieldVisitor& visit);
  GrowthMap map(const ModelConfig& from) const;
  bool operator==(const Masked&) const = default;
};

}  // namespace gda
