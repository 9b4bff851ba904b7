// Arguments of gda/ops/gated_activation.h as backends take them, where there are many.
#pragma once

#include "gda/ops/gated_activation.h"

namespace gda::ops {

struct SwigluBackward {
  Tensor gate, up, dout;
  Tensor dgate, dup;
  const ColumnMask& mask;
};

struct PolyNormForward {
  Tensor gate, up, weight, bias;
  Tensor out;
  const ColumnMask& mask;
  double eps;
  // Where the units are cut: sum_j c_j x_j^2k, k = 1, 2, 3, over those of all places, and their
  // number. [N, 3] accumulate type.
  Tensor sums = {};
  std::int64_t total = 0;
};

struct PolyNormBackward {
  Tensor gate, up, weight, bias, dout;
  Tensor dgate, dup;
  Tensor dweight, dbias;  // or empty
  const ColumnMask& mask;
  double eps;
  // As above, and behind these sum_j g_j x_j^k, k = 1, 2, 3; [N, 6]. The gradients of weight and
  // bias are those of the units that are here.
  Tensor sums = {};
  std::int64_t total = 0;
};

// The sums above over the units that are here: of N rows [N, 3], or with dout [N, 6].
struct PolyNormSums {
  Tensor gate;
  Tensor up, dout;  // or empty
  const ColumnMask& mask;
  Tensor sums;
};

}  // namespace gda::ops
