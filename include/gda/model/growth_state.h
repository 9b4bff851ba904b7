// State of growth in a model that is trained on: the updates that its elements have seen, and the
// part of it that is still being faded in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gda/model/model_config.h"
#include "gda/model/region.h"

namespace gda {

// `length` neighbouring coordinates of an axis that share a value.
struct AxisRun {
  std::int64_t length = 0;
  std::int64_t value = 0;
  bool operator==(const AxisRun&) const = default;
};

// Adam corrects the bias of moments that began at zero by the number of updates since, so that
// number belongs to each grown region. Element (i, j) of a parameter began when the run had done
//   origin(i, j) = max(rows[i], columns[j])
// updates; after n updates of the run it has seen n - origin(i, j). A count of the whole run would
// move new elements up to 6.6 times too far (beta2 = 0.999).
struct UpdateOrigin {
  std::string name;              // of the parameter
  std::vector<AxisRun> rows;     // cover the axis; empty: all 0
  std::vector<AxisRun> columns;  // empty for vectors, and where all are 0
  bool operator==(const UpdateOrigin&) const = default;
};

// Masked structure growth (Yao et al., arXiv 2305.02869): the coordinates that are new, whose mask
// is m; that of all others is 1. Ranges rise and do not touch; an axis without any has not grown.
struct GrowthMask {
  std::vector<IndexRange> hidden;        // of the residual stream
  std::vector<IndexRange> feed_forward;  // units, the same in every layer
  std::vector<IndexRange>
      heads;  // heads of o_proj's input (signal heads of the differential types)
  std::vector<IndexRange> layers;
  bool empty() const;
  // Throws ConfigError that names the axis unless each one's ranges are as above, lie inside the
  // axis of this (grown) model and leave old coordinates.
  void validate(const ModelConfig& config) const;
  bool operator==(const GrowthMask&) const = default;
};

// A mask that rises with the steps of a run: m = k / steps after k = step - first_step steps.
struct GrowthRamp {
  ModelConfig from;  // sizes before; the model itself has those after
  GrowthMask mask;
  std::int64_t first_step = 0;  // of the run; m = 0 there
  std::int64_t steps = 0;       // N
  // m at a step of the run, in [0, 1].
  double at(std::int64_t step) const;
  bool operator==(const GrowthRamp&) const = default;
};

struct GrowthState {
  std::vector<UpdateOrigin> origins;  // parameters that are not listed began with the run
  std::vector<std::string> added;     // parameters that the last growth in depth added whole
  std::optional<GrowthRamp> ramp;     // none: nothing is being faded in
  bool empty() const { return origins.empty() && added.empty() && !ramp; }
  // m at a step of the run; 1 when nothing is being faded in.
  double mask_at(std::int64_t step) const { return ramp ? ramp->at(step) : 1; }
  bool operator==(const GrowthState&) const = default;
};

}  // namespace gda
