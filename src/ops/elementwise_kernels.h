// Backends of gda/ops/elementwise.h. Arguments are checked.
#pragma once

#include "gda/ops/elementwise.h"

namespace gda::cpu {
void fill_zero(const Context& context, const Tensor& x);
void convert(const Context& context, const Tensor& from, const Tensor& to);
void stochastic_round(const Context& context, const Tensor& from, const Tensor& to,
                      const Philox& random, std::uint64_t draw, std::int64_t offset);
void add(const Context& context, const Tensor& x, const Tensor& y);
void scale_columns(const Context& context, const Tensor& x, const Tensor& column, const Tensor& y);
void axpby(const Context& context, double a, const Tensor& x, double b, const Tensor& y);
void sum_of_squares(const Context& context, const Tensor& x, const Tensor& sum);
}  // namespace gda::cpu

namespace gda::cuda {
void fill_zero(const Context& context, const Tensor& x);
void convert(const Context& context, const Tensor& from, const Tensor& to);
void stochastic_round(const Context& context, const Tensor& from, const Tensor& to,
                      const Philox& random, std::uint64_t draw, std::int64_t offset);
void add(const Context& context, const Tensor& x, const Tensor& y);
void scale_columns(const Context& context, const Tensor& x, const Tensor& column, const Tensor& y);
void axpby(const Context& context, double a, const Tensor& x, double b, const Tensor& y);
void sum_of_squares(const Context& context, const Tensor& x, const Tensor& sum);
}  // namespace gda::cuda
