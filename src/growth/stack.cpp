#include "gda/growth/stack.h"

#include "growth/layer_places.h"

namespace gda {

void Stack::fields(FieldVisitor& visit) {
  visit.field({.key = "factor",
               .doc = "how often each layer is there afterwards",
               .minimum = 2,
               .formerly = "times"},
              factor);
  visit.field({.key = "interpolate", .doc = "repeat each layer in its place"}, interpolate);
}

GrowthMap Stack::map(const ModelConfig& from) const {
  LayerPlaces places;
  const std::int64_t layers = from.num_hidden_layers;
  for (std::int64_t l = 0; l < layers * factor; ++l) {
    places.layers.push_back({.source = interpolate ? l / factor : l % layers, .added = false});
  }
  GrowthMap map = layer_map(from, with_layers(from, places), places.sources());
  map.preserving = false;
  return map;
}

}  // namespace gda
