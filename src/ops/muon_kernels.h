// Backends of gda/ops/muon.h. Arguments are checked.
#pragma once

#include "gda/ops/muon.h"

namespace gda::cpu {
void momentum_update(const Context& context, double mu, double gradient_scale,
                     const Tensor& gradient, const Tensor& momentum);
void scale_by_norm(const Context& context, double scale, const Tensor& x, const Tensor& squares,
                   double eps, const Tensor& y);
void apply_direction(const Context& context, double decay, double step, const Tensor& x,
                     const Tensor& master, const Tensor& copy);
void scale_rows(const Context& context, const Tensor& factors, std::int64_t row_length,
                std::int64_t offset, const Tensor& master, const Tensor& copy);
}  // namespace gda::cpu

namespace gda::cuda {
void momentum_update(const Context& context, double mu, double gradient_scale,
                     const Tensor& gradient, const Tensor& momentum);
void scale_by_norm(const Context& context, double scale, const Tensor& x, const Tensor& squares,
                   double eps, const Tensor& y);
void apply_direction(const Context& context, double decay, double step, const Tensor& x,
                     const Tensor& master, const Tensor& copy);
void scale_rows(const Context& context, const Tensor& factors, std::int64_t row_length,
                std::int64_t offset, const Tensor& master, const Tensor& copy);
}  // namespace gda::cuda
