// growth.json: what growth has left behind in a model (GrowthState), by parameters' names.
//
//   {"origins": [{"name": "lm_head.weight", "rows": [[32, 0], [16, 500]], "columns": [[8, 0],
//   ...]}],
//    "added": ["model.layers.4.mlp.up_proj.weight", ...],
//    "ramp": {"from": {config.json of the model before}, "first_step": 500, "steps": 5000,
//             "mask": {"hidden": [[128, 192]], "feed_forward": [], "heads": [], "layers": []}}}
//
// Runs are [length, origin], ranges [begin, end).
#pragma once

#include <string>
#include <string_view>

#include "gda/checkpoint/model_folder.h"
#include "gda/model/growth_state.h"

namespace gda {

std::string growth_json(const GrowthState& state);

// `model`: the folder that the state belongs to. Throws FormatError "{origin}: {key}: ..." for a
// key that is missing, unknown or not what it should be: a parameter that the model does not have,
// runs that do not cover its axis, ranges outside the model's sizes.
GrowthState parse_growth(std::string_view text, std::string_view origin, const ModelFolder& model);

}  // namespace gda
