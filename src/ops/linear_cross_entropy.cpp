#include "gda/ops/linear_cross_entropy.h"

#include "ops/backend.h"
#include "ops/dispatch.h"

namespace gda {
namespace {

void check(std::string_view op, const Context& context, const Tensor& x, const Tensor& weight,
           const Tensor& target, const Tensor& loss) {
  ops::check_compute_type(op, x);
  require<OpError>(x.rank() == 2 && weight.rank() == 2 && x.dim(1) == weight.dim(1),
                   "[{}] expected x [N, D] and weight [V, D], got {} and {}", op, x.str(),
                   weight.str());
  require<OpError>(weight.elements() > 0, "[{}] weight: expected V and D above 0, got {}", op,
                   weight.str());
  const Shape rows{x.dim(0)};
  ops::check_tensor(op, "x", x, x.dtype(), x.shape(), context);
  ops::check_tensor(op, "weight", weight, x.dtype(), weight.shape(), context);
  ops::check_tensor(op, "target", target, DType::i32, rows, context);
  ops::check_tensor(op, "loss", loss, accumulate_type(x.dtype()), rows, context);
}

LinearCrossEntropyOptions complete(LinearCrossEntropyOptions options, const Context& context) {
  const bool gpu = context.stream.device.type == DeviceType::cuda;
  if (options.max_logit_bytes == 0) options.max_logit_bytes = std::size_t{gpu ? 1024U : 64U} << 20;
  return options;
}

}  // namespace

void linear_cross_entropy_forward(const Context& context, const Tensor& x, const Tensor& weight,
                                  const Tensor& target, const Tensor& loss,
                                  LinearCrossEntropyOptions options) {
  check("linear_cross_entropy_forward", context, x, weight, target, loss);
  if (x.elements() == 0) return;
  options = complete(options, context);
  ops::backend(context.device())
      .linear_cross_entropy_forward(context, x, weight, target, loss, options);
}

void linear_cross_entropy_forward_backward(const Context& context, const Tensor& x,
                                           const Tensor& weight, const Tensor& target, double scale,
                                           const Tensor& loss, const Tensor& dx,
                                           const Tensor& dweight,
                                           LinearCrossEntropyOptions options) {
  constexpr const char* kOp = "linear_cross_entropy_forward_backward";
  check(kOp, context, x, weight, target, loss);
  ops::check_tensor(kOp, "dx", dx, x.dtype(), x.shape(), context);
  if (dweight) {
    ops::check_tensor(kOp, "dweight", dweight, accumulate_type(x.dtype()), weight.shape(), context);
  }
  if (x.elements() == 0) return;
  options = complete(options, context);
  ops::backend(context.device())
      .linear_cross_entropy_forward_backward(context, {.x = x,
                                                       .weight = weight,
                                                       .target = target,
                                                       .scale = scale,
                                                       .loss = loss,
                                                       .dx = dx,
                                                       .dweight = dweight,
                                                       .options = options});
}

}  // namespace gda
