// A mask of columns inside a kernel (gda/ops/column_mask.h).
#pragma once

#include "gda/ops/column_mask.h"
#include "numbers.cuh"

namespace gda::cuda {

// Without a mask all factors are the constant 1, and the compiler drops them.
template <class V, bool kMasked>
struct MaskColumns {
  const V* value = nullptr;
  V sum = 0;

  __device__ V operator[](std::int64_t j) const {
    if constexpr (kMasked) return value[j];
    return V(1);
  }
};

// Calls f with the mask in its type V.
template <class V, class F>
void with_mask(const ColumnMask& mask, std::int64_t columns, F&& f) {
  if (mask) {
    f(MaskColumns<V, true>{mask.value.data<V>(), static_cast<V>(mask.sum)});
  } else {
    f(MaskColumns<V, false>{nullptr, static_cast<V>(columns)});
  }
}

}  // namespace gda::cuda
