#include "gda/growth/untie.h"

#include "gda/core/error.h"
#include "growth/head_layout.h"

namespace gda {

void Untie::fields(FieldVisitor& /*visit*/) {}

GrowthMap Untie::map(const ModelConfig& from) const {
  require<ConfigError>(from.tie_word_embeddings,
                       "the model's output projection is its own already (tie_word_embeddings is "
                       "false)");
  ModelConfig to = from;
  to.tie_word_embeddings = false;
  GrowthMap map = identity_map(from, to);
  for (TensorMap& tensor : map.tensors) {
    const Role role = tensor.target.role;
    if (role != Role::embedding && role != Role::head) continue;
    tensor.source = kEmbeddingName;
    tensor.source_shape = tensor.target.shape;
    TensorStep& step = tensor.steps.front();
    step.rows = AxisMap::identity(tensor.target.shape[0]);
    step.columns = AxisMap::identity(tensor.target.shape[1]);
    step.fresh_moments = true;
  }
  return map;
}

}  // namespace gda
