// Parts of gda/ops/adamw.h that backends share.
#pragma once

#include <cstdint>

#include "gda/ops/adamw.h"

namespace gda {

// beta^count by multiplications alone, which every processor rounds alike, so that an update has
// the same bits whoever computes its corrections; of std::pow each library has its own. It errs by
// count u relative to itself: in 1 - beta^count at most what rounding beta has done.
constexpr double power(double beta, std::int64_t count) {
  double result = 1;
  for (; count > 0; count /= 2) {
    if (count % 2 == 1) result *= beta;
    beta *= beta;
  }
  return result;
}

}  // namespace gda

namespace gda::ops {

struct AdamWUpdate {
  const AdamWStep& step;
  Tensor gradient, master, m, v;
  Tensor copy;  // empty: there is nothing to copy
  const AdamWOrigins& origins;
};

}  // namespace gda::ops
