// Arguments of gda/ops/attention.h as backends take them.
#pragma once

#include "gda/ops/attention.h"

namespace gda::ops {

struct AttentionForward {
  const AttentionShape& shape;
  Tensor q, k, v;
  Tensor first_key;  // or empty
  Tensor out, lse;
  Tensor row_max;  // [B*Tq, Hq] accumulate, or empty: the largest scaled score of each
};

// Raises each head's max_logit to the largest of its row_max, or makes it NaN where lse has one: a
// maximum may have lost a NaN, and weights of an infinite score are NaN.
struct AttentionMaxLogit {
  Tensor row_max, lse;
  Tensor max_logit;
};

struct AttentionBackward {
  const AttentionShape& shape;
  Tensor q, k, v;
  Tensor first_key;  // or empty
  Tensor out, lse, dout;
  Tensor dq, dk, dv;
  Tensor delta;  // or empty
};

}  // namespace gda::ops
