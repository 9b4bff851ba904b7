#include "growth/update_origins.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>

namespace gda {
namespace {

using Runs = std::vector<AxisRun>;

void append(Runs& runs, std::int64_t length, std::int64_t value) {
  if (length == 0) return;
  if (!runs.empty() && runs.back().value == value) {
    runs.back().length += length;
  } else {
    runs.push_back({.length = length, .value = value});
  }
}

// Coordinates [begin, end) of `runs`, appended.
void append_part(const Runs& runs, std::int64_t begin, std::int64_t end, Runs& result) {
  std::int64_t first = 0;
  for (const AxisRun& run : runs) {
    const std::int64_t length = std::min(end, first + run.length) - std::max(begin, first);
    append(result, std::max<std::int64_t>(length, 0), run.value);
    first += run.length;
  }
}

Runs carry(const AxisMap& map, const Runs& runs, std::int64_t now) {
  Runs result;
  for (const AxisMap::Run& run : map.runs) {
    if (run.source == AxisMap::kFilled) {
      append(result, run.length, now);
    } else {
      append_part(runs, run.source, run.source + run.length, result);
    }
  }
  return result;
}

bool all_zero(const Runs& runs) {
  return std::all_of(runs.begin(), runs.end(), [](const AxisRun& run) { return run.value == 0; });
}

Runs whole_axis(const Runs& known, std::int64_t size) {
  return known.empty() ? Runs{{.length = size, .value = 0}} : known;
}

UpdateOrigin carry(const TensorMap& tensor, const UpdateOrigin& old, std::int64_t now) {
  UpdateOrigin origin{.name = tensor.target.name, .rows = {}, .columns = {}};
  const bool is_matrix = tensor.target.is_matrix();
  if (!tensor.source.empty()) {
    origin.rows = whole_axis(old.rows, tensor.source_shape[0]);
    if (is_matrix) origin.columns = whole_axis(old.columns, tensor.source_shape[1]);
  } else if (is_matrix) {
    origin.columns = {{.length = tensor.steps.front().columns.size(), .value = 0}};
  }
  for (const TensorStep& step : tensor.steps) {
    if (step.fresh_moments) {
      origin.rows = {{.length = step.rows.size(), .value = now}};
      if (is_matrix) origin.columns = {{.length = step.columns.size(), .value = 0}};
      continue;
    }
    origin.rows = carry(step.rows, origin.rows, now);
    if (is_matrix) origin.columns = carry(step.columns, origin.columns, now);
  }
  if (all_zero(origin.columns)) origin.columns.clear();
  if (all_zero(origin.rows)) origin.rows.clear();
  return origin;
}

}  // namespace

std::vector<UpdateOrigin> carry_origins(const GrowthMap& map,
                                        const std::vector<UpdateOrigin>& origins,
                                        std::int64_t now) {
  std::unordered_map<std::string, const UpdateOrigin*> by_name;
  for (const UpdateOrigin& origin : origins) by_name.emplace(origin.name, &origin);
  std::vector<UpdateOrigin> carried;
  for (const TensorMap& tensor : map.tensors) {
    const auto old = by_name.find(tensor.source);
    UpdateOrigin origin = carry(tensor, old == by_name.end() ? UpdateOrigin{} : *old->second, now);
    if (!origin.rows.empty() || !origin.columns.empty()) carried.push_back(std::move(origin));
  }
  return carried;
}

}  // namespace gda
