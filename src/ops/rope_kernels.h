// What each backend implements of gda/ops/rope.h. Arguments are checked by the callers.
#pragma once

#include <span>

#include "gda/ops/rope.h"

namespace gda::cpu {

// table[0, p, j] = cos(p * frequencies[j]), table[1, p, j] = sin(...).
void fill_rope_table(std::span<const double> frequencies, const Tensor& table);
void rope_forward(const Context& context, const Tensor& x, const Tensor& position,
                  const Tensor& table);
void rope_backward(const Context& context, const Tensor& dx, const Tensor& position,
                   const Tensor& table);

}  // namespace gda::cpu

namespace gda::cuda {

void rope_forward(const Context& context, const Tensor& x, const Tensor& position,
                  const Tensor& table);
void rope_backward(const Context& context, const Tensor& dx, const Tensor& position,
                   const Tensor& table);

}  // namespace gda::cuda
