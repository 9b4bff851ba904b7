// Arguments of gda/ops/differential.h as backends take them, where there are many.
#pragma once

#include "gda/ops/differential.h"

namespace gda::ops {

struct DifferentialForward {
  const DifferentialShape& shape;
  Tensor attended, lambda, subln;
  Tensor y, rho;
};

struct DifferentialBackward {
  const DifferentialShape& shape;
  Tensor attended, lambda, subln;
  Tensor rho, dy;
  Tensor dattended;
  Tensor dsubln;  // or empty
  Tensor dlambda;
  Tensor delta;  // or empty
};

}  // namespace gda::ops
