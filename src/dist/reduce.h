// Combining the contributions of all ranks to the same elements.
#pragma once

#include <cstdint>
#include <span>

#include "gda/core/dtype.h"
#include "gda/dist/communicator.h"

namespace gda::dist {

// to[i] = the combination of from[r][i] over r = 0, 1, ..., in this order, for i < elements. `to`
// may be one of `from`. Sums of f32 are taken in f64, those of bf16 in f32, and rounded at the end.
void reduce_in_order(std::span<const void* const> from, void* to, std::int64_t elements,
                     DType dtype, Reduction reduction);

}  // namespace gda::dist
