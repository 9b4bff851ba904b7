#include "gda/ops/differential.h"

#include "ops/backend.h"
#include "ops/dispatch.h"

namespace gda {
namespace {

using ops::check_tensor;

// `prefix` is "d" for gradients, which may be empty.
void check_vectors(std::string_view op, std::string_view prefix, const Context& context,
                   const LambdaVectors& vectors, DType dtype, const Shape& shape) {
  const auto check = [&](std::string_view name, const Tensor& tensor) {
    if (!prefix.empty() && !tensor) return;
    check_tensor(op, fmt::format("{}{}", prefix, name), tensor, dtype, shape, context);
  };
  check("q1", vectors.q1);
  check("k1", vectors.k1);
  check("q2", vectors.q2);
  check("k2", vectors.k2);
}

void check_lambda_inputs(std::string_view op, const Context& context,
                         const LambdaVectors& vectors) {
  const DType dtype = vectors.q1.dtype();
  require<OpError>(dtype == DType::f64 || dtype == DType::f32,
                   "[{}] q1: expected fp64 or fp32, got {}", op, vectors.q1.str());
  require<OpError>(vectors.q1.rank() == 1, "[{}] q1: expected a vector [d], got {}", op,
                   vectors.q1.str());
  check_vectors(op, "", context, vectors, dtype, vectors.q1.shape());
}

void check_heads(std::string_view op, const Context& context, const DifferentialShape& shape,
                 const Tensor& attended, const Tensor& lambda, const Tensor& subln) {
  ops::check_compute_type(op, attended);
  require<OpError>(shape.noise_heads >= 1 && shape.ratio >= 1 && shape.value_dim >= 1,
                   "[{}] noise_heads, ratio and value_dim: expected at least 1, got {}, {} and {}",
                   op, shape.noise_heads, shape.ratio, shape.value_dim);
  require<OpError>(attended.rank() == 2, "[{}] attended: expected rows [N, heads * 2d], got {}", op,
                   attended.str());
  check_tensor(op, "attended", attended, attended.dtype(),
               {attended.dim(0), shape.heads() * shape.value_dim}, context);
  const DType accumulate = accumulate_type(attended.dtype());
  check_tensor(op, "lambda", lambda, accumulate, {1}, context);
  check_tensor(op, "subln", subln, accumulate, {shape.value_dim}, context);
}

Shape signal_rows(const DifferentialShape& shape, const Tensor& attended) {
  return {attended.dim(0), shape.signal_heads() * shape.value_dim};
}

// V2: each output head has two in `attended` and one number in the gate.
void check_gated(std::string_view op, const Context& context, const Tensor& attended,
                 const Tensor& gate) {
  ops::check_compute_type(op, attended);
  require<OpError>(attended.rank() == 2 && gate.rank() == 2,
                   "[{}] expected attended [N, 2h*d] and gate [N, h], got {} and {}", op,
                   attended.str(), gate.str());
  const std::int64_t heads = gate.dim(1);
  require<OpError>(heads >= 1 && attended.dim(1) >= 1 && attended.dim(1) % (2 * heads) == 0,
                   "[{}] attended: expected two heads for each of the gate's {}, of equal width, "
                   "got {}",
                   op, heads, attended.str());
  check_tensor(op, "attended", attended, attended.dtype(), attended.shape(), context);
  check_tensor(op, "gate", gate, attended.dtype(), {attended.dim(0), heads}, context, true);
}

}  // namespace

void lambda_forward(const Context& context, const LambdaVectors& vectors, double lambda_init,
                    const Tensor& lambda) {
  check_lambda_inputs("lambda_forward", context, vectors);
  check_tensor("lambda_forward", "lambda", lambda, vectors.q1.dtype(), {1}, context);
  ops::backend(context.device()).lambda_forward(context, vectors, lambda_init, lambda);
}

void lambda_backward(const Context& context, const LambdaVectors& vectors, const Tensor& dlambda,
                     const LambdaVectors& dvectors) {
  constexpr std::string_view op = "lambda_backward";
  check_lambda_inputs(op, context, vectors);
  check_tensor(op, "dlambda", dlambda, vectors.q1.dtype(), {1}, context);
  check_vectors(op, "d", context, dvectors, vectors.q1.dtype(), vectors.q1.shape());
  ops::backend(context.device()).lambda_backward(context, vectors, dlambda, dvectors);
}

void differential_forward(const Context& context, const DifferentialShape& shape,
                          const Tensor& attended, const Tensor& lambda, const Tensor& subln,
                          const Tensor& y, const Tensor& rho) {
  constexpr std::string_view op = "differential_forward";
  check_heads(op, context, shape, attended, lambda, subln);
  require<OpError>(shape.eps >= 0, "[{}] eps: expected a number of at least 0, got {}", op,
                   shape.eps);
  check_tensor(op, "y", y, attended.dtype(), signal_rows(shape, attended), context);
  check_tensor(op, "rho", rho, subln.dtype(), {attended.dim(0), shape.signal_heads()}, context);
  ops::backend(context.device())
      .differential_forward(context, {.shape = shape,
                                      .attended = attended,
                                      .lambda = lambda,
                                      .subln = subln,
                                      .y = y,
                                      .rho = rho});
}

void differential_backward(const Context& context, const DifferentialShape& shape,
                           const Tensor& attended, const Tensor& lambda, const Tensor& subln,
                           const Tensor& rho, const Tensor& dy, const Tensor& dattended,
                           const Tensor& dsubln, const Tensor& dlambda, const Tensor& delta) {
  constexpr std::string_view op = "differential_backward";
  check_heads(op, context, shape, attended, lambda, subln);
  check_tensor(op, "rho", rho, subln.dtype(), {attended.dim(0), shape.signal_heads()}, context);
  check_tensor(op, "dy", dy, attended.dtype(), signal_rows(shape, attended), context);
  check_tensor(op, "dattended", dattended, attended.dtype(), attended.shape(), context);
  if (dsubln) check_tensor(op, "dsubln", dsubln, subln.dtype(), subln.shape(), context);
  check_tensor(op, "dlambda", dlambda, subln.dtype(), {1}, context);
  if (delta) {
    check_tensor(op, "delta", delta, subln.dtype(), {attended.dim(0), shape.heads()}, context);
  }
  ops::backend(context.device())
      .differential_backward(context, {.shape = shape,
                                       .attended = attended,
                                       .lambda = lambda,
                                       .subln = subln,
                                       .rho = rho,
                                       .dy = dy,
                                       .dattended = dattended,
                                       .dsubln = dsubln,
                                       .dlambda = dlambda,
                                       .delta = delta});
}

void gated_difference_forward(const Context& context, const Tensor& attended, const Tensor& gate,
                              const Tensor& out) {
  constexpr std::string_view op = "gated_difference_forward";
  check_gated(op, context, attended, gate);
  check_tensor(op, "out", out, attended.dtype(), {attended.dim(0), attended.dim(1) / 2}, context);
  ops::backend(context.device()).gated_difference_forward(context, attended, gate, out);
}

void gated_difference_backward(const Context& context, const Tensor& attended, const Tensor& gate,
                               const Tensor& dout, const Tensor& dattended, const Tensor& dgate) {
  constexpr std::string_view op = "gated_difference_backward";
  check_gated(op, context, attended, gate);
  check_tensor(op, "dout", dout, attended.dtype(), {attended.dim(0), attended.dim(1) / 2}, context);
  check_tensor(op, "dattended", dattended, attended.dtype(), attended.shape(), context);
  check_tensor(op, "dgate", dgate, attended.dtype(), gate.shape(), context, true);
  ops::backend(context.device())
      .gated_difference_backward(context, attended, gate, dout, dattended, dgate);
}

}  // namespace gda
