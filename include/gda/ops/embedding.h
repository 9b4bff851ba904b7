// Token embedding: y_n = table[token_n].
#pragma once

#include "gda/ops/context.h"

namespace gda {

// token [N] i32, each in [0, V), else OpError that names the position and the id (on a GPU, which
// is not waited for: y_n is NaN, and backward leaves dy_n out); table [V, D] and y [N, D] compute.
void embedding_forward(const Context& context, const Tensor& token, const Tensor& table,
                       const Tensor& y);

// dtable[token_n] += dy_n; the order of additions is that of n, whatever the number of threads.
// dtable [V, D] accumulate.
void embedding_backward(const Context& context, const Tensor& token, const Tensor& dy,
                        const Tensor& dtable);

}  // namespace gda
