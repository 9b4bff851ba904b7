// Backends of gda/ops/embedding.h. Types and shapes are checked; ids are checked by the backend.
#pragma once

#include "gda/ops/embedding.h"

namespace gda::cpu {
void embedding_forward(const Context& context, const Tensor& token, const Tensor& table,
                       const Tensor& y);
void embedding_backward(const Context& context, const Tensor& token, const Tensor& dy,
                        const Tensor& dtable);
}  // namespace gda::cpu

namespace gda::cuda {
void embedding_forward(const Context& context, const Tensor& token, const Tensor& table,
                       const Tensor& y);
void embedding_backward(const Context& context, const Tensor& token, const Tensor& dy,
                        const Tensor& dtable);
}  // namespace gda::cuda
