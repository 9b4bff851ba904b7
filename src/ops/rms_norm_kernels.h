// Arguments of gda/ops/rms_norm.h as backends take them.
#pragma once

#include "gda/ops/rms_norm.h"

namespace gda::ops {

struct RmsNormForward {
  Tensor x, weight;
  double eps;
  Tensor y, rho;
  const ColumnMask& mask;
};

struct RmsNormBackward {
  Tensor dy, x, weight, rho;
  Tensor residual_gradient;  // or empty
  Tensor dx;
  Tensor dweight;  // or empty
  const ColumnMask& mask;
};

}  // namespace gda::ops
