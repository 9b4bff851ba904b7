#include "gda/growth/growth_map.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "gda/core/error.h"
#include "gda/core/philox.h"

namespace gda {
namespace {

double factor_of(const AxisMap::Entry& entry, GrowthState state) {
  switch (state) {
    case GrowthState::value:
      return entry.scale;
    case GrowthState::first_moment:
      return entry.gradient_scale;
    case GrowthState::second_moment:
      return entry.gradient_scale * entry.gradient_scale;
  }
  return 1;
}

// Vectors have no column axis; they are matrices of one column.
const AxisMap& column_map(const TensorMap& map) {
  static const AxisMap one = AxisMap::identity(1);
  return map.columns.entries.empty() ? one : map.columns;
}

template <class T>
void copy_or_fill(const TensorMap& map, GrowthState state, const GrowthNoise& noise,
                  std::span<const T> source, std::int64_t source_columns, std::span<T> target) {
  const AxisMap& columns = column_map(map);
  const Philox random(noise.seed, RandomPurpose::growth_noise, map.target.name + " fill");
  const std::int64_t width = columns.size();
  const std::int64_t height = map.rows.size();
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < height; ++i) {
    const AxisMap::Entry& row = map.rows.entries[static_cast<std::size_t>(i)];
    for (std::int64_t j = 0; j < width; ++j) {
      const AxisMap::Entry& column = columns.entries[static_cast<std::size_t>(j)];
      const auto index = static_cast<std::size_t>(i * width + j);
      if (!map.source.empty() && row.source >= 0 && column.source >= 0) {
        const auto from = static_cast<std::size_t>(row.source * source_columns + column.source);
        target[index] = static_cast<T>(factor_of(row, state) * factor_of(column, state) *
                                       static_cast<double>(source[from]));
      } else if (state == GrowthState::value && map.fill_stddev > 0) {
        target[index] = static_cast<T>(map.fill_stddev * random.normal(index));
      } else {
        target[index] = T(0);
      }
    }
  }
}

template <class T>
void add_paired_noise(const TensorMap& map, const GrowthNoise& noise, std::span<T> target) {
  const std::int64_t width = column_map(map).size();
  const Philox random(noise.seed, RandomPurpose::growth_noise, map.target.name);
  double squares = 0;
  for (const T value : target) squares += static_cast<double>(value) * static_cast<double>(value);
  const double rms = std::sqrt(squares / static_cast<double>(target.size()));
  const double stddev = rms * std::pow(10.0, -noise.decibels / 20.0);
  for (std::int64_t i = 0; i < map.rows.size(); ++i) {
    for (const ColumnPair& pair : map.noise) {
      for (std::int64_t j = 0; j < pair.width; ++j) {
        const auto plus = static_cast<std::size_t>(i * width + pair.plus + j);
        const auto minus = static_cast<std::size_t>(i * width + pair.minus + j);
        const T n = static_cast<T>(stddev * random.normal(plus));
        target[plus] += n;
        target[minus] -= n;
      }
    }
  }
}

template <class T>
void apply_to(const TensorMap& map, GrowthState state, const GrowthNoise& noise,
              std::span<const T> source, std::int64_t source_columns, std::span<T> target) {
  copy_or_fill(map, state, noise, source, source_columns, target);
  const bool noisy = state == GrowthState::value && noise.decibels > 0 && !map.noise.empty();
  if (noisy) add_paired_noise(map, noise, target);
}

}  // namespace

AxisMap AxisMap::identity(std::int64_t size) {
  AxisMap map;
  map.entries.resize(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i) map.entries[static_cast<std::size_t>(i)].source = i;
  return map;
}

bool AxisMap::is_identity() const {
  return *this == identity(size());
}

AxisMap compose(const AxisMap& first, const AxisMap& second) {
  AxisMap result;
  for (const AxisMap::Entry& outer : second.entries) {
    if (outer.source == AxisMap::kFilled) {
      result.entries.push_back(outer);
      continue;
    }
    const AxisMap::Entry& inner = first.entries[static_cast<std::size_t>(outer.source)];
    result.entries.push_back({.source = inner.source,
                              .scale = outer.scale * inner.scale,
                              .gradient_scale = outer.gradient_scale * inner.gradient_scale});
  }
  return result;
}

GrowthMap identity_map(const ModelConfig& from, const ModelConfig& to) {
  std::unordered_map<std::string, Shape> old_shapes;
  for (const ParameterSpec& spec : parameter_specs(from)) old_shapes.emplace(spec.name, spec.shape);
  GrowthMap map{.from = from, .to = to, .tensors = {}};
  for (ParameterSpec& spec : parameter_specs(to)) {
    TensorMap tensor;
    const auto old = old_shapes.find(spec.name);
    if (old != old_shapes.end()) {
      tensor.source = spec.name;
      tensor.rows = AxisMap::identity(old->second[0]);
      if (old->second.rank() == 2) tensor.columns = AxisMap::identity(old->second[1]);
    }
    tensor.target = std::move(spec);
    map.tensors.push_back(std::move(tensor));
  }
  return map;
}

void apply(const TensorMap& map, GrowthState state, const GrowthNoise& noise,
           std::span<const float> source, std::int64_t source_columns, std::span<float> target) {
  apply_to(map, state, noise, source, source_columns, target);
}

void apply(const TensorMap& map, GrowthState state, const GrowthNoise& noise,
           std::span<const double> source, std::int64_t source_columns, std::span<double> target) {
  apply_to(map, state, noise, source, source_columns, target);
}

}  // namespace gda
