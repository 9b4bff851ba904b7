#include "gda/ops/gated_activation.h"

#include "ops/backend.h"
#include "ops/dispatch.h"

namespace gda {
namespace {

using ops::check_tensor;

void check_inputs(std::string_view op, const Context& context, const Tensor& gate, const Tensor& up,
                  const ColumnMask& mask) {
  ops::check_compute_type(op, gate);
  require<OpError>(gate.rank() == 2 && gate.dim(1) >= 1,
                   "[{}] gate: expected rows [N, F] with F at least 1, got {}", op, gate.str());
  check_tensor(op, "gate", gate, gate.dtype(), gate.shape(), context, true);
  check_tensor(op, "up", up, gate.dtype(), gate.shape(), context, true);
  ops::check_mask(op, mask, accumulate_type(gate.dtype()), gate.dim(1), context);
}

void check_gradients(std::string_view op, const Context& context, const Tensor& gate,
                     const Tensor& dout, const Tensor& dgate, const Tensor& dup) {
  check_tensor(op, "dout", dout, gate.dtype(), gate.shape(), context);
  check_tensor(op, "dgate", dgate, gate.dtype(), gate.shape(), context, true);
  check_tensor(op, "dup", dup, gate.dtype(), gate.shape(), context, true);
}

}  // namespace

void swiglu_forward(const Context& context, const Tensor& gate, const Tensor& up, const Tensor& out,
                    const ColumnMask& mask) {
  constexpr std::string_view op = "swiglu_forward";
  check_inputs(op, context, gate, up, mask);
  check_tensor(op, "out", out, gate.dtype(), gate.shape(), context);
  ops::backend(context.device()).swiglu_forward(context, gate, up, out, mask);
}

void swiglu_backward(const Context& context, const Tensor& gate, const Tensor& up,
                     const Tensor& dout, const Tensor& dgate, const Tensor& dup,
                     const ColumnMask& mask) {
  constexpr std::string_view op = "swiglu_backward";
  check_inputs(op, context, gate, up, mask);
  check_gradients(op, context, gate, dout, dgate, dup);
  ops::backend(context.device())
      .swiglu_backward(
          context,
          {.gate = gate, .up = up, .dout = dout, .dgate = dgate, .dup = dup, .mask = mask});
}

void poly_norm_forward(const Context& context, const Tensor& gate, const Tensor& up,
                       const Tensor& weight, const Tensor& bias, const Tensor& out,
                       const ColumnMask& mask, double eps) {
  constexpr std::string_view op = "poly_norm_forward";
  check_inputs(op, context, gate, up, mask);
  const DType accumulate = accumulate_type(gate.dtype());
  check_tensor(op, "weight", weight, accumulate, {3}, context);
  check_tensor(op, "bias", bias, accumulate, {1}, context);
  check_tensor(op, "out", out, gate.dtype(), gate.shape(), context);
  ops::backend(context.device())
      .poly_norm_forward(context, {.gate = gate,
                                   .up = up,
                                   .weight = weight,
                                   .bias = bias,
                                   .out = out,
                                   .mask = mask,
                                   .eps = eps});
}

void poly_norm_backward(const Context& context, const Tensor& gate, const Tensor& up,
                        const Tensor& weight, const Tensor& bias, const Tensor& dout,
                        const Tensor& dgate, const Tensor& dup, const Tensor& dweight,
                        const Tensor& dbias, const ColumnMask& mask, double eps) {
  constexpr std::string_view op = "poly_norm_backward";
  check_inputs(op, context, gate, up, mask);
  const DType accumulate = accumulate_type(gate.dtype());
  check_tensor(op, "weight", weight, accumulate, {3}, context);
  check_tensor(op, "bias", bias, accumulate, {1}, context);
  check_gradients(op, context, gate, dout, dgate, dup);
  if (dweight) check_tensor(op, "dweight", dweight, accumulate, {3}, context);
  if (dbias) check_tensor(op, "dbias", dbias, accumulate, {1}, context);
  ops::backend(context.device())
      .poly_norm_backward(context, {.gate = gate,
                                    .up = up,
                                    .weight = weight,
                                    .bias = bias,
                                    .dout = dout,
                                    .dgate = dgate,
                                    .dup = dup,
                                    .dweight = dweight,
                                    .dbias = dbias,
                                    .mask = mask,
                                    .eps = eps});
}

}  // namespace gda
