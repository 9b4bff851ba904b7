#include "gda/ops/rms_norm.h"

#include "ops/backend.h"
#include "ops/dispatch.h"

namespace gda {
namespace {

using ops::check_tensor;

void check_input(std::string_view op, const Context& context, const Tensor& x, const Tensor& weight,
                 const ColumnMask& mask) {
  ops::check_compute_type(op, x);
  require<OpError>(x.rank() == 2 && x.dim(1) >= 1,
                   "[{}] x: expected rows [N, D] with D at least 1, got {}", op, x.str());
  check_tensor(op, "x", x, x.dtype(), x.shape(), context);
  check_tensor(op, "weight", weight, accumulate_type(x.dtype()), {x.dim(1)}, context);
  ops::check_mask(op, mask, accumulate_type(x.dtype()), x.dim(1), x.dim(1), context);
}

void check_eps(std::string_view op, double eps) {
  require<OpError>(eps >= 0, "[{}] eps: expected a number of at least 0, got {}", op, eps);
}

}  // namespace

void rms_norm_forward(const Context& context, const Tensor& x, const Tensor& weight, double eps,
                      const Tensor& y, const Tensor& rho, const ColumnMask& mask) {
  constexpr std::string_view op = "rms_norm_forward";
  check_input(op, context, x, weight, mask);
  check_eps(op, eps);
  check_tensor(op, "y", y, x.dtype(), x.shape(), context);
  check_tensor(op, "rho", rho, accumulate_type(x.dtype()), {x.dim(0)}, context);
  ops::backend(context.device())
      .rms_norm_forward(context,
                        {.x = x, .weight = weight, .eps = eps, .y = y, .rho = rho, .mask = mask});
}

void rms_norm_backward(const Context& context, const Tensor& dy, const Tensor& x,
                       const Tensor& weight, const Tensor& rho, const Tensor& residual_gradient,
                       const Tensor& dx, const Tensor& dweight, const ColumnMask& mask) {
  constexpr std::string_view op = "rms_norm_backward";
  check_input(op, context, x, weight, mask);
  const DType accumulate = accumulate_type(x.dtype());
  check_tensor(op, "dy", dy, x.dtype(), x.shape(), context);
  check_tensor(op, "rho", rho, accumulate, {x.dim(0)}, context);
  if (residual_gradient) {
    check_tensor(op, "residual_gradient", residual_gradient, x.dtype(), x.shape(), context);
  }
  check_tensor(op, "dx", dx, x.dtype(), x.shape(), context);
  if (dweight) check_tensor(op, "dweight", dweight, accumulate, {x.dim(1)}, context);
  ops::backend(context.device())
      .rms_norm_backward(context, {.dy = dy,
                                   .x = x,
                                   .weight = weight,
                                   .rho = rho,
                                   .residual_gradient = residual_gradient,
                                   .dx = dx,
                                   .dweight = dweight,
                                   .mask = mask});
}

}  // namespace gda
