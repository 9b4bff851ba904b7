// Growth as data. An operator that makes a model bigger is a table: for each tensor of the new
// model, which old coordinate every new one copies along each axis, by what factor, and what fills
// the rest. The same table carries parameters, their masters and the optimizer's moments.
//
//   W'[i, j] = row(i).scale * column(j).scale * W[row(i).source, column(j).source]   (or the fill)
//
// The gradient that reaches the copies is gradient_scale times the old one's, so Adam's first
// moment is multiplied by it and the second by its square; filled elements start with moments of
// zero. Layers are one more axis: a tensor names the old tensor that it comes from.
//
// Maps compose. What a later growth copies of an earlier one's random numbers must stay equal, so
// a composed map keeps the steps of each tensor and carries it through all of them in turn.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gda/model/carried_state.h"
#include "gda/model/growth_state.h"
#include "gda/model/parameters.h"

namespace gda {

// One axis of one tensor, as runs of neighbouring coordinates.
struct AxisMap {
  static constexpr std::int64_t kFilled = -1;

  // Coordinate i of the run copies source + i, or nothing where source is kFilled.
  struct Run {
    std::int64_t length = 0;
    std::int64_t source = kFilled;
    double scale = 1;
    double gradient_scale = 1;
    bool operator==(const Run&) const = default;
  };
  std::vector<Run> runs = {};  // neighbours that continue one another are one run

  static AxisMap identity(std::int64_t size);
  static AxisMap filled(std::int64_t size);
  // `copies` times the whole axis, one behind the other: HyperCloning's tiling.
  static AxisMap tiled(std::int64_t size, std::int64_t copies, double scale, double gradient_scale);
  void append(const Run& run);
  void append_filled(std::int64_t length) { append({.length = length}); }
  std::int64_t size() const;
  // One run for each coordinate.
  std::vector<Run> expanded() const;
  bool is_identity() const;
  bool has_filled() const;
  bool operator==(const AxisMap&) const = default;
};

// `first`, then `second` applied to its result.
AxisMap compose(const AxisMap& first, const AxisMap& second);

// Noise that leaves the function alone: columns [plus, plus + width) receive +N and
// [minus, minus + width) receive -N, where both multiply the same input by the same scale.
struct ColumnPair {
  std::int64_t plus = 0;
  std::int64_t minus = 0;
  std::int64_t width = 0;
  bool operator==(const ColumnPair&) const = default;
};

// What one growth does to one tensor.
struct TensorStep {
  AxisMap rows = {};
  AxisMap columns = {};   // of a vector: empty
  Initializer fill = {};  // of what copies nothing: by default zero
  // N is normal, noise_db decibels below the rms of the tensor before this step, and scaled as the
  // weights that it is added to. 0 decibels: no noise.
  std::vector<ColumnPair> noise = {};
  double noise_db = 0;
  // Moments begin at zero and updates are counted anew, also where values are copied.
  bool fresh_moments = false;
  // Names its random numbers: those of this tensor in this growth. Copies that a later growth makes
  // of the tensor draw the same.
  std::string draw = {};

  bool is_identity() const;
  bool has_noise() const { return noise_db > 0 && !noise.empty(); }
  bool has_filled() const { return rows.has_filled() || columns.has_filled(); }
};

struct TensorMap {
  ParameterSpec target;
  std::string source;  // name in the old model; empty: the first step fills everything
  Shape source_shape;
  std::vector<TensorStep> steps;  // at least one
};

struct GrowthMap {
  ModelConfig from;
  ModelConfig to;
  std::vector<TensorMap> tensors;  // in the order of parameter_specs(to)
  // Whether the new model computes what the old one did (at m = 0 of a ramp).
  bool preserving = true;
  // Parameters of `to` that are new layers', whole (GrowthState::added).
  std::vector<std::string> added = {};
  // Masked growth: what is faded in. first_step is set when the map is applied.
  std::optional<GrowthRamp> ramp = {};
};

// The map of a model whose layer l comes from the old layer sources[l] (AxisMap::kFilled: from
// none, begun by the initialisers). Copies have one step, which changes nothing yet: operators
// replace its axes.
GrowthMap layer_map(const ModelConfig& from, const ModelConfig& to,
                    const std::vector<std::int64_t>& sources);
// The same with every layer from the one at its place.
GrowthMap identity_map(const ModelConfig& from, const ModelConfig& to);

// `first`, then `second`. ConfigError unless second.from is first.to, and when `first` leaves a
// ramp: what is being faded in cannot grow.
GrowthMap compose(const GrowthMap& first, const GrowthMap& second);

// The parameters of `to` that come from one of these old ones.
std::vector<std::string> carry_names(const GrowthMap& map, const std::vector<std::string>& names);

// FormatError that names a tensor whose axes do not give its shape, or reach outside its source.
void check_sizes(const GrowthMap& map);

// A whole tensor of the new model. source: the old tensor, row-major (empty if map.source is);
// target: as many elements as the new one. `seed`: of noise and fills.
void apply(const TensorMap& map, CarriedState state, std::uint64_t seed,
           std::span<const float> source, std::span<float> target);
void apply(const TensorMap& map, CarriedState state, std::uint64_t seed,
           std::span<const double> source, std::span<double> target);

}  // namespace gda
