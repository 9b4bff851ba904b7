// CPU-only part of gda/ops/rope.h.
#pragma once

#include <span>

#include "gda/core/tensor.h"

namespace gda::cpu {

// table[0, p, j] = cos(p * frequencies[j]), table[1, p, j] = sin(...).
void fill_rope_table(std::span<const double> frequencies, const Tensor& table);

}  // namespace gda::cpu
