// One instruction set's row functions of an operator, for both element types.
#pragma once

#include <type_traits>

#include "gda/core/dtype.h"

namespace gda::cpu {

// Rows<T> is a struct of function pointers.
template <template <class> class Rows>
struct RowTable {
  Rows<float> f32;
  Rows<bfloat16> bf16;

  template <class T>
  const Rows<T>& of() const {
    if constexpr (std::is_same_v<T, float>) {
      return f32;
    } else {
      return bf16;
    }
  }
};

}  // namespace gda::cpu
