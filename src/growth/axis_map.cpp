#include <algorithm>

#include "gda/growth/growth_map.h"

namespace gda {
namespace {

bool continues(const AxisMap::Run& last, const AxisMap::Run& next) {
  if (last.scale != next.scale || last.gradient_scale != next.gradient_scale) return false;
  if (last.source == AxisMap::kFilled) return next.source == AxisMap::kFilled;
  return next.source == last.source + last.length;
}

// Coordinates [begin, end) of a map, their factors multiplied by those of `outer`.
void append_part(const AxisMap& map, std::int64_t begin, std::int64_t end,
                 const AxisMap::Run& outer, AxisMap& result) {
  std::int64_t first = 0;
  for (const AxisMap::Run& run : map.runs) {
    const std::int64_t low = std::max(begin, first);
    const std::int64_t high = std::min(end, first + run.length);
    if (low < high && run.source == AxisMap::kFilled) result.append_filled(high - low);
    if (low < high && run.source != AxisMap::kFilled) {
      result.append({.length = high - low,
                     .source = run.source + low - first,
                     .scale = outer.scale * run.scale,
                     .gradient_scale = outer.gradient_scale * run.gradient_scale});
    }
    first += run.length;
  }
}

}  // namespace

AxisMap AxisMap::identity(std::int64_t size) {
  return tiled(size, 1, 1, 1);
}

AxisMap AxisMap::filled(std::int64_t size) {
  AxisMap map;
  map.append_filled(size);
  return map;
}

AxisMap AxisMap::tiled(std::int64_t size, std::int64_t copies, double scale,
                       double gradient_scale) {
  AxisMap map;
  for (std::int64_t copy = 0; copy < copies; ++copy) {
    map.append({.length = size, .source = 0, .scale = scale, .gradient_scale = gradient_scale});
  }
  return map;
}

void AxisMap::append(const Run& run) {
  if (run.length == 0) return;
  if (!runs.empty() && continues(runs.back(), run)) {
    runs.back().length += run.length;
  } else {
    runs.push_back(run);
  }
}

std::int64_t AxisMap::size() const {
  std::int64_t size = 0;
  for (const Run& run : runs) size += run.length;
  return size;
}

std::vector<AxisMap::Run> AxisMap::expanded() const {
  std::vector<Run> coordinates;
  coordinates.reserve(static_cast<std::size_t>(size()));
  for (const Run& run : runs) {
    for (std::int64_t i = 0; i < run.length; ++i) {
      Run one = run;
      one.length = 1;
      if (run.source != kFilled) one.source += i;
      coordinates.push_back(one);
    }
  }
  return coordinates;
}

bool AxisMap::is_identity() const {
  return *this == identity(size());
}

bool AxisMap::has_filled() const {
  return std::any_of(runs.begin(), runs.end(),
                     [](const Run& run) { return run.source == kFilled; });
}

AxisMap compose(const AxisMap& first, const AxisMap& second) {
  AxisMap result;
  for (const AxisMap::Run& run : second.runs) {
    if (run.source == AxisMap::kFilled) {
      result.append_filled(run.length);
    } else {
      append_part(first, run.source, run.source + run.length, run, result);
    }
  }
  return result;
}

}  // namespace gda
