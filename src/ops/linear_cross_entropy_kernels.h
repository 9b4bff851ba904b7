// Backends' part of gda/ops/linear_cross_entropy.h: rows of a block of logits. The loop over blocks
// and the products are in src/ops.
#pragma once

#include "gda/ops/linear_cross_entropy.h"

namespace gda::ops {

// Instead of a row of the part of the vocabulary that is here: the target's logit is on another
// place; or the target is no entry at all, on a GPU.
inline constexpr std::int32_t kElsewhere = -2;
inline constexpr std::int32_t kNowhere = -3;

// local_n = target_n - part.first if that is one of the part's `rows`, else kIgnoreTarget,
// kElsewhere or kNowhere. What else is called target below is that of the logits that are here.
struct LocalTargets {
  Tensor target;  // [n] i32
  VocabularyPart part;
  std::int64_t rows;
  Tensor local;  // [n] i32
};

// Of rows [n].
struct RowStatistics {
  Tensor maximum;  // accumulate type
  Tensor sum;      // f64, of exp(logit - maximum); NaN if a logit is not finite
  Tensor chosen;   // accumulate type: the target's logit; NaN if there is none (on a GPU)
  // Where the vocabulary is cut: the maximum of the logits that are here, accumulate type.
  Tensor local_maximum = {};
};

// Statistics of logits [n, V], rows of which may be strided; what is written for rows that are left
// out is not read.
struct SoftmaxStatistics {
  Tensor logits;
  Tensor target;      // [n] i32
  bool for_gradient;  // logits may become what this backend's cross_entropy_gradient reads instead
  RowStatistics rows;
};

// message [2, n] f64 from what softmax_statistics gave, where rows.maximum is already that of all
// places: sum * exp(local_maximum - maximum), and chosen, or 0 where another place has that logit.
// Both are 0 where the target is left out.
struct StatisticsMessage {
  Tensor target;
  RowStatistics rows;
  Tensor message;
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
