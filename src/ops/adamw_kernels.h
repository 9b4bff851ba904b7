// Backends of gda/ops/adamw.h. Arguments are checked; `copy` is empty when there is nothing to
// copy.
#pragma once

#include "gda/ops/adamw.h"

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
