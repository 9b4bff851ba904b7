// The columns of a row and their factors (gda/ops/column_mask.h), for row functions that sum over
// them.
#pragma once

#include <cstdint>

namespace gda::cpu {

struct Columns {
  std::int64_t count;
  const float* mask;  // [count], or null: all factors are 1
  float mask_sum;     // of the factors, or without a mask their number; over all places
};

}  // namespace gda::cpu
