// Backends of gda/ops/adamw.h. Arguments are checked; `copy` is empty when there is nothing to
// copy.
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

namespace gda::cpu {
void adamw_update(const Context& context, const AdamWStep& options, const Tensor& gradient,
                  const Tensor& master, const Tensor& m, const Tensor& v, const Tensor& copy,
                  const AdamWOrigins& origins);
}  // namespace gda::cpu

namespace gda::cuda {
void adamw_update(const Context& context, const AdamWStep& options, const Tensor& gradient,
                  const Tensor& master, const Tensor& m, const Tensor& v, const Tensor& copy,
                  const AdamWOrigins& origins);
}  // namespace gda::cuda
