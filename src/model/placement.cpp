#include "gda/model/placement.h"

#include <utility>

#include "gda/core/error.h"

namespace gda {
namespace {

bool belongs_to(const ParameterSpec& spec, const Stage& stage) {
  switch (spec.role) {
    case Role::embedding:
      return stage.has_embedding;
    case Role::final_norm:
    case Role::head:
      return stage.has_head;
    default:
      return spec.layer >= stage.layers.begin && spec.layer < stage.layers.end;
  }
}

// The part of an axis that a coordinate of `count` has.
IndexRange part(const ParameterSpec& spec, const IndexRange& axis, const Placement& placement) {
  const std::int64_t count = placement.tensor_size;
  if (spec.role == Role::embedding || spec.role == Role::head) {
    return vocabulary_part(axis.size(), placement.tensor, count);
  }
  require<ConfigError>(axis.size() % count == 0,
                       "{}: {} {} do not divide over {} tensor-parallel ranks; give a number of "
                       "ranks that divides them",
                       spec.name, axis.size(), spec.cut == Cut::rows ? "rows" : "columns", count);
  const std::int64_t length = axis.size() / count;
  return {placement.tensor * length, (placement.tensor + 1) * length};
}

PlacedSpec placed(const ParameterSpec& spec, const Placement& placement) {
  PlacedSpec result{.spec = spec,
                    .region = Region::whole(spec.shape),
                    .is_primary = spec.cut != Cut::none || placement.tensor == 0};
  if (spec.cut == Cut::rows) result.region.rows = part(spec, result.region.rows, placement);
  if (spec.cut == Cut::columns) {
    result.region.columns = part(spec, result.region.columns, placement);
  }
  return result;
}

}  // namespace

IndexRange vocabulary_part(std::int64_t vocab_size, std::int64_t tensor, std::int64_t tensor_size) {
  return {tensor * vocab_size / tensor_size, (tensor + 1) * vocab_size / tensor_size};
}

Stage whole_model(const ModelConfig& config) {
  return {.layers = {0, config.num_hidden_layers}};
}

std::vector<Stage> cut_into_stages(const ModelConfig& config, std::int64_t count) {
  const std::int64_t layers = config.num_hidden_layers;
  require<ConfigError>(count >= 1 && count <= layers,
                       "a model of {} layers cannot be cut into {} stages: give at most {}", layers,
                       count, layers);
  // The last stage computes the loss as well: it is the last to get a layer more.
  const std::int64_t more = layers % count;
  std::vector<Stage> stages;
  std::int64_t begin = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const bool has_more = i < count - 1 && i >= count - 1 - more;
    const std::int64_t end = begin + layers / count + (has_more ? 1 : 0);
    stages.push_back({.layers = {begin, end}, .has_embedding = i == 0, .has_head = i == count - 1});
    begin = end;
  }
  return stages;
}

std::vector<PlacedSpec> place(const std::vector<ParameterSpec>& specs, const Placement& placement) {
  const Stage& stage = placement.stage;
  std::vector<PlacedSpec> result;
  for (const ParameterSpec& spec : specs) {
    if (belongs_to(spec, stage)) result.push_back(placed(spec, placement));
  }
  if (!stage.has_head || stage.has_embedding) return result;
  for (const ParameterSpec& spec : specs) {
    if (spec.completion != Completion::tied) continue;
    result.push_back(placed(spec, placement));
    result.back().is_primary = false;
  }
  return result;
}

std::vector<PlacedSpec> place(const std::vector<ParameterSpec>& specs,
                              const std::vector<Placement>& placements) {
  std::vector<PlacedSpec> result;
  for (const Placement& placement : placements) {
    for (PlacedSpec& placed : place(specs, placement)) result.push_back(std::move(placed));
  }
  return result;
}

}  // namespace gda
