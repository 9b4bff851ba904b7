// Factors of columns: how masked structure growth (Yao et al., arXiv 2305.02869) fades new columns
// in. An operator that takes a mask documents what it multiplies; with c_j = 0 the columns take no
// part in it and get no gradient, with c_j = 1 everywhere it is the operator without a mask, bit by
// bit, and so it is with an empty mask, which costs nothing.
#pragma once

#include "gda/core/tensor.h"

namespace gda {

struct ColumnMask {
  Tensor value;    // c [columns], accumulate type, each in [0, 1]; empty: all 1
  double sum = 0;  // S = sum_j c_j, above 0: known from the counts of old and new columns, over
                   // all places if these share the columns

  explicit operator bool() const { return static_cast<bool>(value); }
};

}  // namespace gda
