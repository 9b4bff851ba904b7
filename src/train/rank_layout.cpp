#include "gda/train/rank_layout.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "gda/core/error.h"
#include "gda/core/text.h"

namespace gda {

std::vector<Stage> pipeline_stages(const ModelConfig& model, const ParallelConfig& parallel) {
  const std::vector<std::int64_t>& layers = parallel.stage_layers;
  const std::int64_t count = parallel.stages();
  if (layers.empty()) return cut_into_stages(model, count);
  require<ConfigError>(static_cast<std::int64_t>(layers.size()) == count,
                       "[{}]: {} for {} (pipeline {} times virtual_stages {}); give one for each",
                       fmt::join(layers, ", "), counted(layers.size(), "number"),
                       counted(count, "stage"), parallel.pipeline, parallel.virtual_stages);
  require<ConfigError>(*std::min_element(layers.begin(), layers.end()) >= 1,
                       "[{}]: every stage needs at least one layer", fmt::join(layers, ", "));
  const std::int64_t sum = std::accumulate(layers.begin(), layers.end(), std::int64_t{0});
  require<ConfigError>(sum == model.num_hidden_layers,
                       "[{}] are {}, and the model has {}; give others, or none, so that any "
                       "model is cut evenly",
                       fmt::join(layers, ", "), counted(sum, "layer"), model.num_hidden_layers);
  std::vector<Stage> stages;
  std::int64_t begin = 0;
  for (const std::int64_t length : layers) {
    stages.push_back({.layers = {begin, begin + length},
                      .has_embedding = begin == 0,
                      .has_head = begin + length == sum});
    begin += length;
  }
  return stages;
}

std::vector<Placement> rank_layout(const ModelConfig& model, const ParallelConfig& parallel,
                                   std::int64_t pipeline, std::int64_t tensor) {
  const std::vector<Stage> stages = pipeline_stages(model, parallel);
  std::vector<Placement> places;
  for (std::int64_t stage = pipeline; stage < parallel.stages(); stage += parallel.pipeline) {
    places.push_back({.stage = stages[static_cast<std::size_t>(stage)],
                      .tensor = tensor,
                      .tensor_size = parallel.tensor});
  }
  return places;
}

}  // namespace gda
