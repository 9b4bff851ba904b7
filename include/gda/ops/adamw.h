// One AdamW update (Loshchilov and Hutter 2019) of a flat piece of parameters.
#pragma once

#include <cstdint>

#include "gda/ops/context.h"

namespace gda {

struct AdamWStep {
  double lr = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0;
  double gradient_scale = 1;  // multiplies the gradient first (clipping)
  std::int64_t step = 1;      // 1 for the first update: bias correction 1 - beta^step
};

// All [n], accumulate type, except `copy`:
//   g = gradient_scale * gradient;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   master -= lr * (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay * master)
//   copy = master rounded to the compute type (empty, or the same memory as master: no copy)
void adamw_update(const Context& context, const AdamWStep& options, const Tensor& gradient,
                  const Tensor& master, const Tensor& m, const Tensor& v, const Tensor& copy);

}  // namespace gda
