// Several growths, one after the other, as one: what `gda grow plan FILE.yaml` reads.
//
//   from: {parameters: 2597218432}         # optional: the model that the plan is for
//   to: {parameters: 12703860896}          # optional: what must come out
//   steps:
//     - {operator: width, hidden_factor: 2, feed_forward_factor: 2}
//     - {operator: signal_heads, factor: 4}
//     - {operator: depth, every: 4}
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gda/config/fields.h"
#include "gda/growth/depth.h"
#include "gda/growth/growth_map.h"
#include "gda/growth/masked.h"
#include "gda/growth/signal_heads.h"
#include "gda/growth/stack.h"
#include "gda/growth/untie.h"
#include "gda/growth/width.h"
#include "gda/growth/zero_pad.h"

namespace gda {

// Every operator: a struct of options with
//   kName, kSummary, kExample; fields(FieldVisitor&), the options, which plans and the command line
//   are made from; map(const ModelConfig&), its table for a model; operator==.
using GrowthOperator = std::variant<SignalHeads, Width, ZeroPad, Depth, Masked, Stack, Untie>;

// Calls visit(Operator{}) for each.
template <class Visit>
void for_each_operator(const Visit& visit) {
  [&]<class... Operators>(const std::variant<Operators...>*) {
    (visit(Operators{}), ...);
  }(static_cast<const GrowthOperator*>(nullptr));
}

struct GrowthStep {
  GrowthOperator operation;

  std::string_view name() const;
  // The key `operator`, then the operator's own.
  void fields(FieldVisitor& visit);
  // Checks the options, too. ConfigError.
  GrowthMap map(const ModelConfig& from) const;
  bool operator==(const GrowthStep&) const = default;
};

// What is expected of a model; what is not given is not checked.
struct ModelExpectation {
  std::optional<std::int64_t> parameters;
  std::optional<std::int64_t> hidden_size;
  std::optional<std::int64_t> intermediate_size;
  std::optional<std::int64_t> num_hidden_layers;
  std::optional<std::int64_t> heads;  // num_attention_heads or signal_heads
  std::optional<std::int64_t> num_key_value_heads;
  std::optional<std::int64_t> vocab_size;

  void fields(FieldVisitor& visit);
  // ConfigError that begins with `where` and lists what differs.
  void check(std::string_view where, const ModelConfig& model) const;
  bool operator==(const ModelExpectation&) const = default;
};

struct GrowthPlan {
  ModelExpectation from;
  ModelExpectation to;
  std::vector<GrowthStep> steps;

  void fields(FieldVisitor& visit);
  // All steps as one map. ConfigError that names the step, and when the model is not the one that
  // the plan is for.
  GrowthMap map(const ModelConfig& model) const;
  bool operator==(const GrowthPlan&) const = default;
};

// ConfigError with file, line and key; a file that cannot be read is one, too.
GrowthPlan load_growth_plan(const std::filesystem::path& path);

}  // namespace gda
