// Backends' part of gda/ops/linear_cross_entropy.h: rows of a block of logits. The loop over blocks
// and the products are in src/ops.
#pragma once

#include "gda/ops/linear_cross_entropy.h"

namespace gda::ops {

// Of rows [n].
struct RowStatistics {
  Tensor maximum;  // accumulate type
  Tensor sum;      // f64, of exp(logit - maximum); NaN if a logit is not finite
  Tensor chosen;   // accumulate type: the target's logit; NaN if there is none (on a GPU)
};

// Statistics of logits [n, V], rows of which may be strided; what is written for rows that are left
// out is not read.
struct SoftmaxStatistics {
  Tensor logits;
  Tensor target;      // [n] i32
  bool for_gradient;  // logits may become what this backend's cross_entropy_gradient reads instead
  RowStatistics rows;
};

// loss_n = log sum + maximum - chosen, or 0 where the target is left out.
struct CrossEntropyLoss {
  Tensor target;
  RowStatistics rows;
  Tensor loss;  // [n] accumulate type
};

// The gradient of scale * sum of losses with respect to the logits, 0 in rows that are left out.
struct CrossEntropyGradient {
  Tensor logits;  // as softmax_statistics has left them
  Tensor target;
  double scale;
  RowStatistics rows;
  Tensor gradient;  // [n, V] compute type, in the same memory: rows begin where those of logits do
};

}  // namespace gda::ops
