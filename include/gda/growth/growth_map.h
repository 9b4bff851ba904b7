// Growth as data. An operator that makes a model bigger is a table: for each tensor of the new
// model, which old coordinate every new one copies along each axis, by what factor, and what fills
// the rest. The same table carries parameters, their masters and the optimizer's moments.
//
//   W'[i, j] = rows.scale[i] * columns.scale[j] * W[rows.source[i], columns.source[j]]    (or the
//   fill)
//
// The gradient that reaches the copies is gradient_scale times the old one's, so Adam's first
// moment is multiplied by it and the second by its square; filled elements start with moments of
// zero.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "gda/model/parameters.h"

namespace gda {

// One axis of one tensor. Coordinate i copies `source[i]`, or nothing where that is kFilled.
struct AxisMap {
  static constexpr std::int64_t kFilled = -1;

  struct Entry {
    std::int64_t source = kFilled;
    double scale = 1;
    double gradient_scale = 1;
    bool operator==(const Entry&) const = default;
  };
  std::vector<Entry> entries;

  static AxisMap identity(std::int64_t size);
  std::int64_t size() const { return static_cast<std::int64_t>(entries.size()); }
  bool is_identity() const;
  bool operator==(const AxisMap&) const = default;
};

// `first`, then `second` applied to its result.
AxisMap compose(const AxisMap& first, const AxisMap& second);

// Noise that leaves the function alone: columns [a, a + width) receive +N and [b, b + width)
// receive -N, where both multiply the same input.
struct ColumnPair {
  std::int64_t plus = 0;
  std::int64_t minus = 0;
  std::int64_t width = 0;
};

struct TensorMap {
  ParameterSpec target;
  std::string source;  // name in the old model; empty: everything is filled
  AxisMap rows;
  AxisMap columns;         // empty for vectors
  double fill_stddev = 0;  // of what copies nothing: N(0, stddev^2), or zero
  std::vector<ColumnPair> noise;
};

struct GrowthMap {
  ModelConfig from;
  ModelConfig to;
  std::vector<TensorMap> tensors;  // in the order of parameter_specs(to)
};

// The map that changes nothing but the configuration: every tensor of `to` copies the one of the
// same name, whose shape must agree. Operators start from it.
GrowthMap identity_map(const ModelConfig& from, const ModelConfig& to);

// What is carried through a map.
enum class GrowthState { value, first_moment, second_moment };

struct GrowthNoise {
  double decibels = 10;  // how far the noise lies below the weights it is added to; 0: no noise
  std::uint64_t seed = 1;
};

// One tensor of the new model. source: the old tensor, row-major f32 (not read if map.source is
// empty); target: as many elements as the new one. Noise is added to values only.
void apply(const TensorMap& map, GrowthState state, const GrowthNoise& noise,
           std::span<const float> source, std::int64_t source_columns, std::span<float> target);
void apply(const TensorMap& map, GrowthState state, const GrowthNoise& noise,
           std::span<const double> source, std::int64_t source_columns, std::span<double> target);

}  // namespace gda
