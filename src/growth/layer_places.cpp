#include "growth/layer_places.h"

#include <algorithm>

#include "gda/core/error.h"
#include "gda/core/text.h"

namespace gda {
namespace {

// `added[p]`: whether layer p of the new model is new.
LayerPlaces from_flags(std::int64_t old_layers, const std::vector<bool>& added) {
  LayerPlaces places;
  std::int64_t below = 0;  // old layers so far
  for (std::size_t p = 0; p < added.size(); ++p) {
    if (!added[p]) {
      places.layers.push_back({.source = below++, .added = false});
      continue;
    }
    std::size_t end = p;
    while (end < added.size() && added[end]) ++end;
    const auto run = static_cast<std::int64_t>(end - p);
    for (std::int64_t i = 0; i < run; ++i) {
      const std::int64_t source = below == 0 ? i : std::max<std::int64_t>(0, below - run + i);
      places.layers.push_back({.source = std::min(source, old_layers - 1), .added = true});
    }
    p = end - 1;
  }
  return places;
}

}  // namespace

std::vector<std::int64_t> LayerPlaces::sources() const {
  std::vector<std::int64_t> sources;
  for (const Place& place : layers) sources.push_back(place.source);
  return sources;
}

LayerPlaces layers_at(std::int64_t old_layers, std::vector<std::int64_t> places) {
  const auto count = static_cast<std::int64_t>(places.size());
  std::sort(places.begin(), places.end());
  std::vector<bool> added(static_cast<std::size_t>(old_layers + count));
  for (const std::int64_t place : places) {
    require<ConfigError>(place >= 0 && place < old_layers + count,
                         "at: {} is out of range; {} and {} have places 0 to {}", place,
                         counted(old_layers, "layer"), counted(count, "new one"),
                         old_layers + count - 1);
    require<ConfigError>(!added[static_cast<std::size_t>(place)], "at: {} is given twice", place);
    added[static_cast<std::size_t>(place)] = true;
  }
  return from_flags(old_layers, added);
}

LayerPlaces layers_every(std::int64_t old_layers, std::int64_t every, std::int64_t copies) {
  require<ConfigError>(old_layers % every == 0,
                       "every: {} does not divide the model's {}; give a divisor, or layers "
                       "(how many in all, spread evenly), or at (the places)",
                       every, counted(old_layers, "layer"));
  require<ConfigError>(copies <= every, "copies: {} of the top layers of groups of {}", copies,
                       every);
  std::vector<bool> added;
  for (std::int64_t group = 0; group < old_layers / every; ++group) {
    added.insert(added.end(), static_cast<std::size_t>(every), false);
    added.insert(added.end(), static_cast<std::size_t>(copies), true);
  }
  return from_flags(old_layers, added);
}

LayerPlaces layers_spread(std::int64_t old_layers, std::int64_t layers) {
  require<ConfigError>(layers > old_layers,
                       "layers: {} in all, and the model has {} already; growth cannot shrink a "
                       "model",
                       layers, old_layers);
  const std::int64_t count = layers - old_layers;
  std::vector<bool> added;
  std::int64_t below = 0;
  for (std::int64_t k = 1; k <= count; ++k) {
    const std::int64_t end = k * old_layers / count;
    added.insert(added.end(), static_cast<std::size_t>(end - below), false);
    added.push_back(true);
    below = end;
  }
  return from_flags(old_layers, added);
}

ModelConfig with_layers(const ModelConfig& from, const LayerPlaces& places) {
  ModelConfig to = from;
  to.num_hidden_layers = static_cast<std::int64_t>(places.layers.size());
  to.lambda_init.clear();
  if (from.attention.is_differential()) {
    for (const LayerPlaces::Place& place : places.layers) {
      to.lambda_init.push_back(from.lambda_init_of(place.source));
    }
  }
  to.validate();
  return to;
}

}  // namespace gda
