#include <nlohmann/json.hpp>

#include "checkpoint/growth_json.h"
#include "gda/checkpoint/hugging_face_config.h"

namespace gda {
namespace {

using nlohmann::ordered_json;

ordered_json json_of(const std::vector<AxisRun>& runs) {
  ordered_json list = ordered_json::array();
  for (const AxisRun& run : runs) list.push_back({run.length, run.value});
  return list;
}

ordered_json json_of(const std::vector<IndexRange>& ranges) {
  ordered_json list = ordered_json::array();
  for (const IndexRange& range : ranges) list.push_back({range.begin, range.end});
  return list;
}

ordered_json json_of(const GrowthRamp& ramp) {
  return {{"from", ordered_json::parse(to_hugging_face_config(ramp.from, DType::f32))},
          {"first_step", ramp.first_step},
          {"steps", ramp.steps},
          {"mask",
           {{"hidden", json_of(ramp.mask.hidden)},
            {"feed_forward", json_of(ramp.mask.feed_forward)},
            {"heads", json_of(ramp.mask.heads)},
            {"layers", json_of(ramp.mask.layers)}}}};
}

}  // namespace

std::string growth_json(const GrowthState& state) {
  // A line a parameter: models have hundreds, and people read this.
  std::string text = "{\"origins\": [";
  const char* separator = "\n  ";
  for (const UpdateOrigin& origin : state.origins) {
    ordered_json entry = {{"name", origin.name}, {"rows", json_of(origin.rows)}};
    if (!origin.columns.empty()) entry["columns"] = json_of(origin.columns);
    text += separator + entry.dump();
    separator = ",\n  ";
  }
  text += "],\n \"added\": " + ordered_json(state.added).dump();
  if (state.ramp) text += ",\n \"ramp\": " + json_of(*state.ramp).dump();
  return text + "}\n";
}

}  // namespace gda
