#include "gda/ops/newton_schulz.h"

#include <algorithm>
#include <utility>

#include "gda/ops/elementwise.h"
#include "gda/ops/matmul.h"
#include "gda/ops/muon.h"
#include "ops/dispatch.h"

namespace gda {
namespace {

constexpr const char* kOp = "newton_schulz";

// The product of all a: where the iterations begin, so that they can leave them out.
constexpr double leading_product() {
  double product = 1;
  for (const NewtonSchulzStep& step : kNewtonSchulzSteps) product *= step.a;
  return product;
}

}  // namespace

void newton_schulz(const Context& context, const Tensor& u, const Tensor& x) {
  ops::check_compute_type(kOp, x);
  require<OpError>(x.rank() == 2, "[{}] x: expected a matrix, got {}", kOp, x.str());
  ops::check_tensor(kOp, "x", x, x.dtype(), x.shape(), context);
  ops::check_tensor(kOp, "u", u, accumulate_type(x.dtype()), x.shape(), context);
  if (x.elements() == 0) return;
  const ArenaScope scope(context.arena);
  const std::int64_t side = std::min(x.dim(0), x.dim(1));
  const bool is_tall = x.dim(0) > x.dim(1);
  const Tensor squares = context.arena.allocate(DType::f64, {1});
  Tensor from = context.arena.allocate(x.dtype(), x.shape());
  Tensor to = x;
  const Tensor gram = context.arena.allocate(x.dtype(), {side, side});
  const Tensor factor = context.arena.allocate(x.dtype(), {side, side});

  // X = s Z. A step divided by its a is Z + (b/a s^2 Z Z^T + c/a s^4 (Z Z^T)^2) Z and multiplies s
  // by a: a product with an addend, and no pass of its own over X. In the end s is 1.
  double s = 1 / leading_product();
  sum_of_squares(context, u, squares);
  scale_by_norm(context, leading_product(), u, squares, kNewtonSchulzEps, from);
  for (const NewtonSchulzStep& step : kNewtonSchulzSteps) {
    matmul(context, from, from, gram, {.transpose_a = is_tall, .transpose_b = !is_tall});
    matmul(context, gram, gram, factor);
    axpby(context, step.b / step.a * s * s, gram, step.c / step.a * s * s * s * s, factor);
    matmul(context, is_tall ? from : factor, is_tall ? factor : from, to, {.addend = from});
    s *= step.a;
    std::swap(from, to);
  }
}

}  // namespace gda
