#include "gda/ops/gated_activation.h"

#include "ops/backend.h"
#include "ops/dispatch.h"

namespace gda {
namespace {

using ops::check_tensor;

void check_inputs(std::string_view op, const Context& context, const Tensor& gate,
                  const Tensor& up) {
  ops::check_compute_type(op, gate);
  require<OpError>(gate.rank() == 2 && gate.dim(1) >= 1,
                   "[{}] gate: expected rows [N, F] with F at least 1, got {}", op, gate.str());
  check_tensor(op, "gate", gate, gate.dtype(), gate.shape(), context, true);
  check_tensor(op, "up", up, gate.dtype(), gate.shape(), context, true);
}

// SwiGLU takes factors alone.
void check_factors(std::string_view op, const Context& context, const Tensor& gate,
                   const ColumnMask& mask) {
  if (!mask) return;
  check_tensor(op, "mask", mask.value, accumulate_type(gate.dtype()), {gate.dim(1)}, context);
}

void check_poly_norm(std::string_view op, const Context& context, const Tensor& gate,
                     const Tensor& weight, const Tensor& bias, const ColumnMask& mask,
                     const UnitPart& part) {
  const std::int64_t units = gate.dim(1);
  const DType accumulate = accumulate_type(gate.dtype());
  require<OpError>(part.total == 0 ? !part.sum : part.sum && part.total >= units,
                   "[{}] part: expected a sum over all places and a total of at least {} units, or "
                   "neither, got {} sum and a total of {}",
                   op, units, part.sum ? "a" : "no", part.total);
  ops::check_mask(op, mask, accumulate, units, part.total == 0 ? units : part.total, context);
  check_tensor(op, "weight", weight, accumulate, {3}, context);
  check_tensor(op, "bias", bias, accumulate, {1}, context);
}

// Sums of each row over the units of all places, in scratch memory; empty if all are here.
Tensor sums_over_parts(const Context& context, const ops::PolyNormSums& here,
                       std::int64_t sums_of_row, const UnitPart& part) {
  if (!part.sum) return {};
  const Tensor sums =
      context.arena.allocate(accumulate_type(here.gate.dtype()), {here.gate.dim(0), sums_of_row});
  ops::backend(context.device())
      .poly_norm_sums(
          context,
          {.gate = here.gate, .up = here.up, .dout = here.dout, .mask = here.mask, .sums = sums});
  // Where memory is only counted, there is nothing to say.
  if (!context.arena.is_plan()) part.sum(sums);
  return sums;
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
  check_inputs(op, context, gate, up);
  check_factors(op, context, gate, mask);
  check_tensor(op, "out", out, gate.dtype(), gate.shape(), context);
  ops::backend(context.device()).swiglu_forward(context, gate, up, out, mask);
}

void swiglu_backward(const Context& context, const Tensor& gate, const Tensor& up,
                     const Tensor& dout, const Tensor& dgate, const Tensor& dup,
                     const ColumnMask& mask) {
  constexpr std::string_view op = "swiglu_backward";
  check_inputs(op, context, gate, up);
  check_factors(op, context, gate, mask);
  check_gradients(op, context, gate, dout, dgate, dup);
  ops::backend(context.device())
      .swiglu_backward(
          context,
          {.gate = gate, .up = up, .dout = dout, .dgate = dgate, .dup = dup, .mask = mask});
}

void poly_norm_forward(const Context& context, const Tensor& gate, const Tensor& up,
                       const Tensor& weight, const Tensor& bias, const Tensor& out,
                       const ColumnMask& mask, double eps, const UnitPart& part) {
  constexpr std::string_view op = "poly_norm_forward";
  check_inputs(op, context, gate, up);
  check_poly_norm(op, context, gate, weight, bias, mask, part);
  check_tensor(op, "out", out, gate.dtype(), gate.shape(), context);
  const ArenaScope scratch(context.arena);
  const Tensor sums = sums_over_parts(
      context, {.gate = gate, .up = {}, .dout = {}, .mask = mask, .sums = {}}, 3, part);
  ops::backend(context.device())
      .poly_norm_forward(context, {.gate = gate,
                                   .up = up,
                                   .weight = weight,
                                   .bias = bias,
                                   .out = out,
                                   .mask = mask,
                                   .eps = eps,
                                   .sums = sums,
                                   .total = part.total});
}

void poly_norm_backward(const Context& context, const Tensor& gate, const Tensor& up,
                        const Tensor& weight, const Tensor& bias, const Tensor& dout,
                        const Tensor& dgate, const Tensor& dup, const Tensor& dweight,
                        const Tensor& dbias, const ColumnMask& mask, double eps,
                        const UnitPart& part) {
  constexpr std::string_view op = "poly_norm_backward";
  check_inputs(op, context, gate, up);
  check_poly_norm(op, context, gate, weight, bias, mask, part);
  check_gradients(op, context, gate, dout, dgate, dup);
  const DType accumulate = accumulate_type(gate.dtype());
  if (dweight) check_tensor(op, "dweight", dweight, accumulate, {3}, context);
  if (dbias) check_tensor(op, "dbias", dbias, accumulate, {1}, context);
  const ArenaScope scratch(context.arena);
  const Tensor sums = sums_over_parts(
      context, {.gate = gate, .up = up, .dout = dout, .mask = mask, .sums = {}}, 6, part);
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
                                    .eps = eps,
                                    .sums = sums,
                                    .total = part.total});
}

}  // namespace gda
