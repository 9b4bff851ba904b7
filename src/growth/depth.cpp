#include "gda/growth/depth.h"

#include "growth/head_layout.h"
#include "growth/layer_places.h"

namespace gda {

void Depth::fields(FieldVisitor& visit) {
  visit.field({.key = "every",
               .doc = "layers per group; copies are inserted after each group",
               .minimum = 1},
              every);
  visit.field({.key = "copies",
               .doc = "with every: how many of a group's top layers are copied",
               .minimum = 1},
              copies);
  visit.field({.key = "layers",
               .doc = "number of layers after growth; new ones are spread evenly",
               .minimum = 1},
              layers);
  visit.field({.key = "at", .doc = "positions of the new layers in the grown model, from 0"}, at);
  const int forms = (every ? 1 : 0) + (layers ? 1 : 0) + (at.empty() ? 0 : 1);
  visit.rule("every", forms == 1,
             "give one of every (behind each group of layers), layers (how many in all) and at "
             "(the places)");
  visit.rule("copies", copies == 1 || every, "given without every");
}

GrowthMap Depth::map(const ModelConfig& from) const {
  const std::int64_t old = from.num_hidden_layers;
  const LayerPlaces places = every    ? layers_every(old, *every, copies)
                             : layers ? layers_spread(old, *layers)
                                      : layers_at(old, at);
  GrowthMap map = layer_map(from, with_layers(from, places), places.sources());
  for (TensorMap& tensor : map.tensors) {
    const std::int64_t layer = tensor.target.layer;
    if (layer < 0 || !places.layers[static_cast<std::size_t>(layer)].added) continue;
    map.added.push_back(tensor.target.name);
    TensorStep& step = tensor.steps.front();
    step.fresh_moments = true;
    if (writes_hidden(tensor.target.role)) step.rows = AxisMap::filled(step.rows.size());
  }
  return map;
}

}  // namespace gda
