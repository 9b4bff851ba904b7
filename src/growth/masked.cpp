#include "gda/growth/masked.h"

#include "growth/head_axes.h"
#include "growth/head_layout.h"
#include "growth/layer_places.h"
#include "growth/padded_map.h"

namespace gda {
namespace {

// One coordinate a head instead of each head's width.
std::vector<IndexRange> head_ranges(const AttentionConfig& from, const AttentionConfig& to) {
  return filled_ranges(lambda_rows(from, to));
}

GrowthMap with_random_layers(const ModelConfig& from, const LayerPlaces& places, GrowthMask& mask) {
  ModelConfig to = with_layers(from, places);
  std::vector<std::int64_t> sources = places.sources();
  AxisMap layers;
  for (std::size_t l = 0; l < sources.size(); ++l) {
    if (places.layers[l].added) {
      sources[l] = AxisMap::kFilled;
      layers.append_filled(1);
    } else {
      layers.append({.length = 1, .source = sources[l]});
    }
  }
  mask.layers = filled_ranges(layers);
  GrowthMap map = layer_map(from, to, sources);
  for (const TensorMap& tensor : map.tensors) {
    if (tensor.source.empty()) map.added.push_back(tensor.target.name);
  }
  return map;
}

GrowthMap with_random_coordinates(const ModelConfig& from, const Masked& masked, GrowthMask& mask) {
  GrowthMap map = padded_map(from, {.hidden_size = masked.hidden_size,
                                    .intermediate_size = masked.intermediate_size,
                                    .heads = masked.heads,
                                    .key_value_heads = {}});
  const ModelConfig& to = map.to;
  mask.hidden = filled_ranges(extended(from.hidden_size, to.hidden_size));
  mask.feed_forward = filled_ranges(extended(from.intermediate_size, to.intermediate_size));
  mask.heads = head_ranges(from.attention, to.attention);
  for (TensorMap& tensor : map.tensors) tensor.steps.front().fill = tensor.target.init;
  return map;
}

}  // namespace

void Masked::fields(FieldVisitor& visit) {
  const auto size = [&](std::string_view key, std::string_view doc,
                        std::optional<std::int64_t>& value) {
    visit.field({.key = key, .doc = doc, .minimum = 1}, value);
  };
  size("hidden_size", "width of the residual stream after growth", hidden_size);
  size("intermediate_size", "feed-forward units after growth", intermediate_size);
  size("heads", "query heads (signal heads of the differential types) after growth", heads);
  size("layers", "number of layers after growth; new ones are spread evenly", layers);
  visit.field({.key = "at", .doc = "positions of the new layers in the grown model, from 0"}, at);
  visit.field(
      {.key = "ramp_steps", .doc = "steps over which the mask rises from 0 to 1", .minimum = 1},
      ramp_steps);
  const int dimensions = (hidden_size ? 1 : 0) + (intermediate_size ? 1 : 0) + (heads ? 1 : 0) +
                         (layers ? 1 : 0) + (at.empty() ? 0 : 1);
  visit.rule("hidden_size", dimensions > 0,
             "nothing grows; give one of hidden_size, intermediate_size, heads, layers and at");
  visit.rule("hidden_size", dimensions <= 1,
             "more than one dimension is given; a mask fades in one at a time (new weights of two "
             "would meet in products that fade in as the mask's square): grow the others after "
             "this ramp has ended");
}

GrowthMap Masked::map(const ModelConfig& from) const {
  const std::int64_t old = from.num_hidden_layers;
  GrowthRamp ramp{.from = from, .mask = {}, .first_step = 0, .steps = ramp_steps};
  GrowthMap map;
  if (layers) {
    map = with_random_layers(from, layers_spread(old, *layers), ramp.mask);
  } else if (!at.empty()) {
    map = with_random_layers(from, layers_at(old, at), ramp.mask);
  } else {
    map = with_random_coordinates(from, *this, ramp.mask);
  }
  map.ramp = ramp;
  return map;
}

}  // namespace gda
