#include "gda/growth/stack.h"

#include "growth/layer_places.h"

namespace gda {

void Stack::fields(FieldVisitor& visit) {
  visit.field({.key = "times", .doc = "how often each layer is there afterwards", .minimum = 2},
              times);
  visit.field({.key = "interpolate", .doc = "repeat each layer in its place"}, interpolate);
}

GrowthMap Stack::map(const ModelConfig& from) const {
  LayerPlaces places;
  const std::int64_t layers = from.num_hidden_layers;
  for (std::int64_t l = 0; l < layers * times; ++l) {
    places.layers.push_back({.source = interpolate ? l / times : l % layers, .added = false});
  }
  GrowthMap map = layer_map(from, with_layers(from, places), places.sources());
  map.preserving = false;
  return map;
}

}  // namespace gda
