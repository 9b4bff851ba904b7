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
};

struct PolyNormBackward {
  Tensor gate, up, weight, bias, dout;
  Tensor dgate, dup;
  Tensor dweight, dbias;  // or empty
  const ColumnMask& mask;
  double eps;
};

}  // namespace gda::ops
