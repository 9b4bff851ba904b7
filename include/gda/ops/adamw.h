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

// Moments of a parameter [R, C] that did not all begin at zero before the first update: those of
// element (i, j) did after max(rows[i], columns[j]) updates, so its bias corrections count from
// there:
//   t(i, j) = step - max(rows[i], columns[j]), at least 1
// A vector is one row. Both 1 - beta^t rise with t, so an element's corrections are the larger
// factors of its row and its column, which need R + C powers instead of R C.
struct AdamWOrigins {
  Tensor rows;                  // [R] i32; empty: all 0
  Tensor columns;               // [C] i32; empty: all 0
  std::int64_t row_length = 1;  // C
  std::int64_t offset = 0;      // of the piece's first element in the parameter, row-major

  bool empty() const { return rows.empty() && columns.empty(); }
};

// All [n], accumulate type, except `copy`:
//   g = gradient_scale * gradient;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   master -= lr * (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay * master)
//   copy = master rounded to the compute type (empty, or the same memory as master: no copy)
// t = step, or t(i, j) where there are origins. OpError for a step below 1, tensors of other shapes
// or types, and a piece that does not lie within the origins' rows; that every t is at least 1 is
// the caller's to know.
void adamw_update(const Context& context, const AdamWStep& options, const Tensor& gradient,
                  const Tensor& master, const Tensor& m, const Tensor& v, const Tensor& copy,
                  const AdamWOrigins& origins = {});

}  // namespace gda
