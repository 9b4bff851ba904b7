// Arguments of gda/ops/attention.h as backends take them.
#pragma once

#include "gda/ops/attention.h"

namespace gda::ops {

struct AttentionForward {
  const AttentionShape& shape;
  Tensor q, k, v;
  Tensor first_key;  // or empty
  Tensor out, lse;
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
