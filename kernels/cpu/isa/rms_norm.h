// RMSNorm of one row, with factors c of its columns.
#pragma once

#include <cstdint>

#include "isa/columns.h"
#include "isa/row_table.h"

namespace gda::cpu {

template <class T>
struct RmsNormRows {
  // y = c * weight * x * rho; returns rho.
  float (*forward)(const T* x, const float* weight, Columns columns, float eps, T* y);
  // dx (+ residual_gradient unless null; may be dx itself), and dweight += this row's part.
  void (*backward)(const T* dy, const T* x, const float* weight, float rho,
                   const T* residual_gradient, Columns columns, T* dx, float* dweight);
};

namespace baseline {
extern const RowTable<RmsNormRows> kRmsNorm;
}
namespace avx2 {
extern const RowTable<RmsNormRows> kRmsNorm;
}
namespace avx512 {
extern const RowTable<RmsNormRows> kRmsNorm;
}

}  // namespace gda::cpu
