#include "gda/ops/elementwise.h"

#include "ops/backend.h"
#include "ops/dispatch.h"

namespace gda {

void fill_zero(const Context& context, const Tensor& x) {
  ops::check_tensor("fill_zero", "x", x, x.dtype(), x.shape(), context, true);
  ops::backend(context.device()).fill_zero(context, x);
}

void convert(const Context& context, const Tensor& from, const Tensor& to) {
  ops::check_compute_type("convert", from);
  ops::check_compute_type("convert", to);
  require<OpError>(from.elements() == to.elements(),
                   "[convert] expected as many elements on both sides, got {} and {}", from.str(),
                   to.str());
  const bool strided = from.shape() == to.shape();
  ops::check_tensor("convert", "from", from, from.dtype(), from.shape(), context, strided);
  ops::check_tensor("convert", "to", to, to.dtype(), to.shape(), context, strided);
  ops::backend(context.device()).convert(context, from, to);
}

void stochastic_round(const Context& context, const Tensor& from, const Tensor& to,
                      const Philox& random, std::uint64_t draw, std::int64_t offset) {
  ops::check_tensor("stochastic_round", "from", from, DType::f32, from.shape(), context);
  ops::check_tensor("stochastic_round", "to", to, DType::bf16, from.shape(), context);
  ops::backend(context.device()).stochastic_round(context, from, to, random, draw, offset);
}

void add(const Context& context, const Tensor& x, const Tensor& y) {
  ops::check_compute_type("add", x);
  ops::check_tensor("add", "x", x, x.dtype(), x.shape(), context, true);
  ops::check_tensor("add", "y", y, x.dtype(), x.shape(), context, true);
  ops::backend(context.device()).add(context, x, y);
}

void scale_columns(const Context& context, const Tensor& x, const Tensor& column, const Tensor& y) {
  ops::check_compute_type("scale_columns", x);
  require<OpError>(x.rank() == 2, "[scale_columns] x: expected rows [N, M], got {}", x.str());
  ops::check_tensor("scale_columns", "x", x, x.dtype(), x.shape(), context);
  ops::check_tensor("scale_columns", "column", column, accumulate_type(x.dtype()), {x.dim(1)},
                    context);
  ops::check_tensor("scale_columns", "y", y, x.dtype(), x.shape(), context);
  ops::backend(context.device()).scale_columns(context, x, column, y);
}

void axpby(const Context& context, double a, const Tensor& x, double b, const Tensor& y) {
  ops::check_compute_type("axpby", x);
  ops::check_tensor("axpby", "x", x, x.dtype(), x.shape(), context);
  ops::check_tensor("axpby", "y", y, x.dtype(), x.shape(), context);
  ops::backend(context.device()).axpby(context, a, x, b, y);
}

void sum_of_squares(const Context& context, const Tensor& x, const Tensor& sum) {
  require<OpError>(x.dtype() == DType::f32 || x.dtype() == DType::f64,
                   "[sum_of_squares] expected fp32 or fp64, got {}", x.str());
  ops::check_tensor("sum_of_squares", "x", x, x.dtype(), x.shape(), context);
  ops::check_tensor("sum_of_squares", "sum", sum, DType::f64, {1}, context);
  ops::backend(context.device()).sum_of_squares(context, x, sum);
}

}  // namespace gda
