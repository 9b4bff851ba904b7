// Gated feed-forward products of one row, with factors c of its columns.
#pragma once

#include <cstdint>

#include "isa/columns.h"
#include "isa/row_table.h"

namespace gda::cpu {

// PolyNorm's parameters, and (but for eps) the sums of their gradients over a row: weight[0]
// belongs to x^3, weight[1] to x^2, weight[2] to x.
struct PolyNormParameters {
  float weight[3];
  float bias;
  float eps = 0;
};

template <class T>
struct GatedActivationRows {
  void (*swiglu_forward)(const T* gate, const T* up, Columns columns, T* out);
  void (*swiglu_backward)(const T* gate, const T* up, const T* dout, Columns columns, T* dgate,
                          T* dup);
  // sums[0..2] = sum c x^2k, k = 1, 2, 3, and with dout sums[3..5] = sum c up dout x^k.
  void (*poly_norm_sums)(const T* gate, const T* up, const T* dout, Columns columns, float* sums);
  // `sums` are those of all places, or null: they are those of this row.
  void (*poly_norm_forward)(const T* gate, const T* up, const PolyNormParameters* parameters,
                            Columns columns, const float* sums, T* out);
  void (*poly_norm_backward)(const T* gate, const T* up, const PolyNormParameters* parameters,
                             const T* dout, Columns columns, const float* sums, T* dgate, T* dup,
                             PolyNormParameters* gradients);
};

namespace baseline {
extern const RowTable<GatedActivationRows> kGatedActivation;
}
namespace avx2 {
extern const RowTable<GatedActivationRows> kGatedActivation;
}
namespace avx512 {
extern const RowTable<GatedActivationRows> kGatedActivation;
}

}  // namespace gda::cpu
