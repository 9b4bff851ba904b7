// The `growth` section of a run's configuration: stages, each of which makes the model bigger when
// so many steps are done, and may change how training goes on.
//
//   growth:
//     stages:
//       - step: 20000
//         plan: {steps: [{operator: depth, every: 4}]}
//         learning_rate: rewind
//         rewarm_steps: 500
//         trainable: new
//       - tokens: 100000000000
//         plan_file: configs/growth/wider.yaml
//         global_batch_size: 2048
//         weights: [{name: ko, weight: 0.5}, {name: en, weight: 0.5}]
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gda/config/fields.h"
#include "gda/growth/growth_plan.h"

namespace gda {

// What a data source weighs from a stage on.
struct StageWeight {
  std::string name;  // of the source
  double weight = 1;

  bool operator==(const StageWeight&) const = default;
  void fields(FieldVisitor& visit);
};

// How the learning rate goes on from a stage.
enum class StageRate : std::uint8_t {
  keep,    // with the schedule
  rewind,  // the schedule begins again at its peak, and ends with the run
};
template <>
inline constexpr auto kWordsOf<StageRate> = words("keep", "rewind");

struct GrowthStageConfig {
  // When: after so many steps, or before the first step that begins with so many tokens seen.
  std::optional<std::int64_t> step;
  std::optional<std::int64_t> tokens;
  // What: a plan, or the file of one, which takes the plan's place when the configuration is read.
  std::optional<GrowthPlan> plan;
  std::string plan_file;
  std::int64_t seed = 1;  // of noise and of new weights
  // Whatever it is, it first rises for rewarm_steps.
  StageRate learning_rate = StageRate::keep;
  std::int64_t rewarm_steps = 0;
  std::optional<std::int64_t> global_batch_size;  // from here on; null: as before
  std::vector<StageWeight> weights;               // of the sources, from here on; empty: as before
  // What is trained from here on, as train.trainable says it; keep: as before.
  WordOrList trainable{.word = "keep", .list = {}};

  bool operator==(const GrowthStageConfig&) const = default;
  void fields(FieldVisitor& visit);
};

struct GrowthConfig {
  std::vector<GrowthStageConfig> stages;

  bool operator==(const GrowthConfig&) const = default;
  void fields(FieldVisitor& visit);
};

}  // namespace gda
