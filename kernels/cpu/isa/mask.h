// Row functions are written once, for any factors of the columns. Without a mask they are compiled
// with the constant 1, which leaves nothing to multiply, so the plain operator costs what it did;
// and since multiplying by 1 is exact, a mask of ones gives its bits.
#pragma once

#include "isa/columns.h"

namespace gda::cpu::GDA_ISA {

struct Ones {
  __attribute__((always_inline)) float operator[](std::int64_t) const { return 1.0F; }
};

// f(factors): something indexed by column.
template <class F>
inline __attribute__((always_inline)) auto with_mask(const Columns& columns, const F& f) {
  return columns.mask == nullptr ? f(Ones{}) : f(columns.mask);
}

}  // namespace gda::cpu::GDA_ISA
