#include "gda/growth/growth_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "gda/core/error.h"

namespace gda {
namespace {

std::string layer_name(const ParameterSpec& spec, std::int64_t layer) {
  const std::string prefix = fmt::format("model.layers.{}.", spec.layer);
  return fmt::format("model.layers.{}.{}", layer, spec.name.substr(prefix.size()));
}

TensorStep identity_step(const Shape& shape) {
  TensorStep step;
  step.rows = AxisMap::identity(shape[0]);
  if (shape.rank() == 2) step.columns = AxisMap::identity(shape[1]);
  return step;
}

TensorStep initial_step(const ParameterSpec& spec) {
  TensorStep step;
  step.rows = AxisMap::filled(spec.shape[0]);
  if (spec.is_matrix()) step.columns = AxisMap::identity(spec.shape[1]);
  step.fill = spec.init;
  return step;
}

bool is_zero(const Initializer& fill) {
  return fill.stddev == 0 && fill.value == 0;
}

// Whether two steps are one: nothing that the second copies or measures is made up by the first
// (zeros apart, and those only where the second makes up zeros too).
bool are_one_step(const TensorStep& first, const TensorStep& second) {
  if (first.has_noise() || second.has_noise()) return false;
  if (!first.has_filled()) return true;
  return is_zero(first.fill) && (!second.has_filled() || is_zero(second.fill));
}

TensorStep join(const TensorStep& first, const TensorStep& second) {
  TensorStep both = second;
  both.rows = compose(first.rows, second.rows);
  both.columns = compose(first.columns, second.columns);
  both.fresh_moments = first.fresh_moments || second.fresh_moments;
  if (!second.has_filled()) {
    both.fill = first.fill;
    both.draw = first.draw;
  }
  return both;
}

void append_step(std::vector<TensorStep>& steps, const TensorStep& step) {
  if (step.is_identity()) return;
  if (steps.size() == 1 && steps.front().is_identity()) {
    steps.front() = step;
  } else if (are_one_step(steps.back(), step)) {
    steps.back() = join(steps.back(), step);
  } else {
    steps.push_back(step);
  }
}

void check_axis(const std::string& name, std::string_view axis, const AxisMap& map,
                std::int64_t size, std::int64_t source_size) {
  require<FormatError>(map.size() == size, "growth of {}: its map has {} {}, the tensor {}", name,
                       map.size(), axis, size);
  for (const AxisMap::Run& run : map.runs) {
    if (run.source == AxisMap::kFilled) continue;
    require<FormatError>(run.source >= 0 && run.source + run.length <= source_size,
                         "growth of {}: {} [{}, {}) of {} are copied", name, axis, run.source,
                         run.source + run.length, source_size);
  }
}

void check_tensor(const TensorMap& tensor) {
  const std::string& name = tensor.target.name;
  const bool is_matrix = tensor.target.is_matrix();
  const bool has_source = !tensor.source.empty();
  std::int64_t rows = has_source ? tensor.source_shape[0] : 0;
  std::int64_t columns = is_matrix && has_source ? tensor.source_shape[1] : 0;
  for (const TensorStep& step : tensor.steps) {
    const bool last = &step == &tensor.steps.back();
    check_axis(name, "rows", step.rows, last ? tensor.target.shape[0] : step.rows.size(), rows);
    rows = step.rows.size();
    if (!is_matrix) continue;
    const bool made_up = !has_source && &step == &tensor.steps.front();
    check_axis(name, "columns", step.columns, last ? tensor.target.shape[1] : step.columns.size(),
               made_up ? step.columns.size() : columns);
    columns = step.columns.size();
  }
}

// What either of two growths added, in the order of the second's tensors.
std::vector<std::string> join_names(const GrowthMap& second,
                                    const std::vector<std::string>& carried) {
  std::unordered_set<std::string> names(carried.begin(), carried.end());
  names.insert(second.added.begin(), second.added.end());
  std::vector<std::string> joined;
  for (const TensorMap& tensor : second.tensors) {
    if (names.contains(tensor.target.name)) joined.push_back(tensor.target.name);
  }
  return joined;
}

}  // namespace

bool TensorStep::is_identity() const {
  return rows.is_identity() && (columns.runs.empty() || columns.is_identity()) && !has_noise() &&
         !fresh_moments;
}

GrowthMap layer_map(const ModelConfig& from, const ModelConfig& to,
                    const std::vector<std::int64_t>& sources) {
  std::unordered_map<std::string, Shape> old_shapes;
  for (const ParameterSpec& spec : parameter_specs(from)) old_shapes.emplace(spec.name, spec.shape);
  GrowthMap map{.from = from, .to = to, .tensors = {}};
  const std::int64_t size = parameter_count(to);  // tells this growth from those before
  for (ParameterSpec& spec : parameter_specs(to)) {
    TensorMap tensor;
    const std::int64_t layer =
        spec.layer < 0 ? spec.layer : sources.at(static_cast<std::size_t>(spec.layer));
    const bool made_up = spec.layer >= 0 && layer == AxisMap::kFilled;
    const auto old = made_up
                         ? old_shapes.end()
                         : old_shapes.find(spec.layer < 0 ? spec.name : layer_name(spec, layer));
    if (old == old_shapes.end()) {
      tensor.steps.push_back(initial_step(spec));
    } else {
      tensor.source = old->first;
      tensor.source_shape = old->second;
      tensor.steps.push_back(identity_step(old->second));
    }
    tensor.steps.front().draw = fmt::format("{} {}", spec.name, size);
    tensor.target = std::move(spec);
    map.tensors.push_back(std::move(tensor));
  }
  return map;
}

GrowthMap identity_map(const ModelConfig& from, const ModelConfig& to) {
  std::vector<std::int64_t> sources(static_cast<std::size_t>(to.num_hidden_layers));
  std::iota(sources.begin(), sources.end(), std::int64_t{0});
  return layer_map(from, to, sources);
}

GrowthMap compose(const GrowthMap& first, const GrowthMap& second) {
  require<ConfigError>(first.to == second.from,
                       "two growths do not follow one another: the second is for another model "
                       "than the first one makes");
  require<ConfigError>(!first.ramp,
                       "masked growth must come last: what is being faded in cannot grow until its "
                       "ramp has ended");
  std::unordered_map<std::string, const TensorMap*> before;
  for (const TensorMap& tensor : first.tensors) before.emplace(tensor.target.name, &tensor);
  GrowthMap both = second;
  both.from = first.from;
  both.preserving = first.preserving && second.preserving;
  both.added = join_names(second, carry_names(second, first.added));
  for (TensorMap& tensor : both.tensors) {
    if (tensor.source.empty()) continue;
    const TensorMap& inner = *before.at(tensor.source);
    std::vector<TensorStep> steps = inner.steps;
    for (const TensorStep& step : tensor.steps) append_step(steps, step);
    tensor.source = inner.source;
    tensor.source_shape = inner.source_shape;
    tensor.steps = std::move(steps);
  }
  return both;
}

std::vector<std::string> carry_names(const GrowthMap& map, const std::vector<std::string>& names) {
  const std::unordered_set<std::string> old(names.begin(), names.end());
  std::vector<std::string> carried;
  for (const TensorMap& tensor : map.tensors) {
    if (old.contains(tensor.source)) carried.push_back(tensor.target.name);
  }
  return carried;
}

void check_sizes(const GrowthMap& map) {
  for (const TensorMap& tensor : map.tensors) check_tensor(tensor);
}

}  // namespace gda
