// Rotation of one row of heads, in place.
#pragma once

#include <cstdint>

#include "isa/row_table.h"

namespace gda::cpu {

template <class T>
struct RopeRows {
  // Each head is 2 * half wide; cosine and sine [half] are of the row's position.
  void (*rotate)(T* x, std::int64_t heads, std::int64_t half, const float* cosine,
                 const float* sine);
  // By the opposite angle.
  void (*rotate_back)(T* x, std::int64_t heads, std::int64_t half, const float* cosine,
                      const float* sine);
};

namespace baseline {
extern const RowTable<RopeRows> kRope;
}
namespace avx2 {
extern const RowTable<RopeRows> kRope;
}
namespace avx512 {
extern const RowTable<RopeRows> kRope;
}

}  // namespace gda::cpu
