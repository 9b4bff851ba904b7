// Small passes over flat memory.
#pragma once

#include "gda/core/philox.h"
#include "gda/ops/context.h"

namespace gda {

// x = 0. Any type; a row stride is allowed.
void fill_zero(const Context& context, const Tensor& x);

// to = from, converted between f64, f32 and bf16 (rounded to nearest even). Of one shape, where row
// strides are allowed, or contiguous with as many elements.
void convert(const Context& context, const Tensor& from, const Tensor& to);

// to = from, rounded up or down at random so that the mean is `from` (stochastically_rounded in
// dtype.h). from f32, to bf16, contiguous, with as many elements. The noise of element i is
// random.half_word(draw, offset + i): the same on every device, and however a parameter is cut.
void stochastic_round(const Context& context, const Tensor& from, const Tensor& to,
                      const Philox& random, std::uint64_t draw, std::int64_t offset);

// y += x. One shape and compute type, row strides allowed; bf16 is added in f32 and rounded.
void add(const Context& context, const Tensor& x, const Tensor& y);

// y_ij = c_j x_ij: masks of columns (column_mask.h; its sum is not used here). x, y [N, M] compute,
// contiguous, y may be x; column [M] accumulate. bf16 is multiplied in f32 and rounded.
void scale_columns(const Context& context, const Tensor& x, const Tensor& column, const Tensor& y);

// y = a x + b y. Contiguous, one shape and compute type; bf16 is computed in f32 and rounded.
void axpby(const Context& context, double a, const Tensor& x, double b, const Tensor& y);

// sum [1] f64 = the sum of x^2 over a contiguous f32 or f64 tensor, added in f64 in an order that
// does not depend on the number of threads. inf or NaN anywhere makes the result inf or NaN.
void sum_of_squares(const Context& context, const Tensor& x, const Tensor& sum);

}  // namespace gda
