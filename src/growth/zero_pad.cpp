#include "gda/growth/zero_pad.h"

#include <cmath>

#include "gda/core/error.h"
#include "growth/head_layout.h"
#include "growth/padded_map.h"

namespace gda {
namespace {

double ratio(std::int64_t before, std::int64_t after) {
  return static_cast<double>(before) / static_cast<double>(after);
}

// A weight that is multiplied by what `scale` makes up for: its input grows by 1 / scale, and so
// does its gradient.
void rescale(AxisMap& map, double scale) {
  for (AxisMap::Run& run : map.runs) {
    if (run.source == AxisMap::kFilled) continue;
    run.scale = scale;
    run.gradient_scale = 1 / scale;
  }
}

void begin_new_coordinates(const ModelConfig& from, const ModelConfig& to, TensorMap& tensor) {
  TensorStep& step = tensor.steps.front();
  switch (tensor.target.role) {
    case Role::norm:
    case Role::final_norm:
      rescale(step.rows, std::sqrt(ratio(from.hidden_size, to.hidden_size)));
      step.fill = tensor.target.init;
      break;
    case Role::activation_weight:
      rescale(step.rows, std::sqrt(ratio(from.intermediate_size, to.intermediate_size)));
      break;
    case Role::gate: {
      const bool shares_norm =
          to.hidden_act == Activation::poly_norm && to.intermediate_size > from.intermediate_size;
      if (!shares_norm) step.fill = tensor.target.init;
      break;
    }
    case Role::query:
    case Role::key:
    case Role::value:
    case Role::lambda_projection:
    case Role::up:
    case Role::head:
      step.fill = tensor.target.init;
      break;
    case Role::embedding:
    case Role::output:
    case Role::down:
    case Role::head_vector:
    case Role::activation_bias:
      break;
  }
}

}  // namespace

void ZeroPad::fields(FieldVisitor& visit) {
  const auto size = [&](std::string_view key, std::string_view doc,
                        std::optional<std::int64_t>& value) {
    visit.field({.key = key, .doc = doc, .minimum = 1}, value);
  };
  size("hidden_size", "width of the residual stream after growth", hidden_size);
  size("intermediate_size", "feed-forward units after growth", intermediate_size);
  size("heads", "query heads (signal heads of the differential types) after growth", heads);
  visit.field({.key = "num_key_value_heads",
               .doc = "key-value heads after growth; new groups bring their query heads",
               .minimum = 1,
               .formerly = "key_value_heads"},
              num_key_value_heads);
  visit.rule("hidden_size", hidden_size || intermediate_size || heads || num_key_value_heads,
             "nothing grows; give at least one size");
}

GrowthMap ZeroPad::map(const ModelConfig& from) const {
  GrowthMap map = padded_map(from, {.hidden_size = hidden_size,
                                    .intermediate_size = intermediate_size,
                                    .heads = heads,
                                    .key_value_heads = num_key_value_heads});
  map.to.rms_norm_eps *= ratio(from.hidden_size, map.to.hidden_size);
  map.to.poly_norm_eps *= ratio(from.intermediate_size, map.to.intermediate_size);
  for (TensorMap& tensor : map.tensors) begin_new_coordinates(from, map.to, tensor);
  return map;
}

}  // namespace gda
