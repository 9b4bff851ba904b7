// Placement of a model on ranks: each holds a stage of its layers, and of those a part of each
// tensor.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/model/model_config.h"
#include "gda/model/parameter_spec.h"
#include "gda/model/region.h"

namespace gda {

// A stretch of the model's depth, in forward order: the embedding, some layers, the final norm and
// the output projection.
struct Stage {
  IndexRange layers;
  bool has_embedding = true;
  bool has_head = true;  // with the final norm

  bool operator==(const Stage&) const = default;
};

Stage whole_model(const ModelConfig& config);

// `count` stages, the first with the embedding and the last with the head; where layers do not
// divide, the later stages but the last have one more each. ConfigError if there are fewer layers
// than stages.
std::vector<Stage> cut_into_stages(const ModelConfig& config, std::int64_t count);

struct Placement {
  Stage stage;
  std::int64_t tensor = 0;       // coordinate
  std::int64_t tensor_size = 1;  // ranks that share each tensor that is cut

  bool operator==(const Placement&) const = default;
};

// A parameter, or the part of it that a place holds.
struct PlacedSpec {
  ParameterSpec spec;
  Region region;
  // Of places that hold the same elements one speaks for them, in the gradient's norm and in
  // checkpoints: tensor coordinate 0, and of a tied embedding the first stage.
  bool is_primary = true;
};

// The parameters of this place, in forward order; a tied model's last stage has the embedding last.
// The vocabulary is cut as evenly as can be (vocabulary_part). ConfigError if another axis that is
// cut does not divide by tensor_size, with the parameter's name and both numbers.
std::vector<PlacedSpec> place(const std::vector<ParameterSpec>& specs, const Placement& placement);
// Those of a place with several stages, of one tensor coordinate: stage by stage.
std::vector<PlacedSpec> place(const std::vector<ParameterSpec>& specs,
                              const std::vector<Placement>& placements);

// The entries of a vocabulary that a tensor coordinate has: as many as others have, or one more.
IndexRange vocabulary_part(std::int64_t vocab_size, std::int64_t tensor, std::int64_t tensor_size);

}  // namespace gda
