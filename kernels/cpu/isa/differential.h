// Signal minus noise for one row's noise group, and for one row's pair of gated heads.
#pragma once

#include <cstdint>

#include "isa/row_table.h"

namespace gda::cpu {

// The same for all groups of a call. A group is `ratio` signal heads, then their noise head, each
// n wide.
struct DifferentialGroup {
  std::int64_t ratio;
  std::int64_t n;
  float lambda;
  float scale;  // 1 - lambda_init
  float eps;
  const float* subln;  // [n]
};

template <class T>
struct DifferentialRows {
  // y [ratio, n], rho [ratio] of one group's attended [ratio + 1, n].
  void (*forward)(const DifferentialGroup* group, const T* attended, T* y, float* rho);
  // dattended [ratio + 1, n] of dy [ratio, n]. dsubln [n] += this group's part; scratch [n] is for
  // the sum of dD over the group. delta [ratio + 1], or null: <dattended, attended> of each head.
  // Returns <sum of dD, noise>, which is minus the group's dlambda.
  float (*backward)(const DifferentialGroup* group, const T* attended, const float* rho,
                    const T* dy, T* dattended, float* dsubln, float* scratch, float* delta);
  // out [n] = a[0] - sigmoid(gate) * a[1] of attended [2, n].
  void (*gated_forward)(const T* attended, const T* gate, std::int64_t n, T* out);
  void (*gated_backward)(const T* attended, const T* gate, const T* dout, std::int64_t n,
                         T* dattended, T* dgate);
};

namespace baseline {
extern const RowTable<DifferentialRows> kDifferential;
}
namespace avx2 {
extern const RowTable<DifferentialRows> kDifferential;
}
namespace avx512 {
extern const RowTable<DifferentialRows> kDifferential;
}

}  // namespace gda::cpu
