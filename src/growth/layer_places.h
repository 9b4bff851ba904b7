// Positions of new layers in a grown model.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/model/model_config.h"

namespace gda {

// For each layer of the new model: the old layer that it is, or that a new one copies.
struct LayerPlaces {
  struct Place {
    std::int64_t source = 0;
    bool added = false;
    bool operator==(const Place&) const = default;
  };
  std::vector<Place> layers;

  std::vector<std::int64_t> sources() const;
};

// New layers at these places of the new model, in any order. ConfigError for one that is out of
// range or given twice.
LayerPlaces layers_at(std::int64_t old_layers, std::vector<std::int64_t> places);
// Behind each `every` layers, `copies` new ones.
LayerPlaces layers_every(std::int64_t old_layers, std::int64_t every, std::int64_t copies);
// `layers` in all, the new ones spread evenly, the last of them at the top.
LayerPlaces layers_spread(std::int64_t old_layers, std::int64_t layers);

// The configuration with these layers. A layer keeps lambda_init wherever it goes, and copies have
// their source's.
ModelConfig with_layers(const ModelConfig& from, const LayerPlaces& places);

}  // namespace gda
