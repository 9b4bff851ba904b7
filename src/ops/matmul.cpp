#include "gda/ops/matmul.h"

#include "gda/ops/elementwise.h"
#include "ops/backend.h"
#include "ops/dispatch.h"

namespace gda {
namespace {

constexpr const char* kOp = "matmul";

Shape operand_shape(const Tensor& tensor, bool transpose) {
  return transpose ? Shape{tensor.dim(1), tensor.dim(0)} : tensor.shape();
}

void check(const Context& context, const Tensor& a, const Tensor& b, const Tensor& out,
           const MatmulOptions& options) {
  ops::check_compute_type(kOp, a);
  require<OpError>(a.rank() == 2 && b.rank() == 2,
                   "[{}] expected two matrices, got a = {} and b = {}", kOp, a.str(), b.str());
  const Shape left = operand_shape(a, options.transpose_a);
  const Shape right = operand_shape(b, options.transpose_b);
  require<OpError>(left[1] == right[0], "[{}] inner sizes differ: op(a) is {}, op(b) is {}", kOp,
                   left.str(), right.str());
  ops::check_tensor(kOp, "a", a, a.dtype(), a.shape(), context, true);
  ops::check_tensor(kOp, "b", b, a.dtype(), b.shape(), context, true);
  const bool wide = out.dtype() == accumulate_type(a.dtype());
  ops::check_tensor(kOp, "out", out, wide ? out.dtype() : a.dtype(), Shape{left[0], right[1]},
                    context, true);
  if (!options.addend) return;
  require<OpError>(!options.accumulate,
                   "[matmul] addend: expected none where the product accumulates, got {}",
                   options.addend.str());
  ops::check_tensor(kOp, "addend", options.addend, out.dtype(), out.shape(), context, true);
}

}  // namespace

void matmul(const Context& context, const Tensor& a, const Tensor& b, const Tensor& out,
            const MatmulOptions& options) {
  check(context, a, b, out, options);
  if (out.elements() == 0) return;
  if (a.elements() == 0) {  // a sum over nothing
    if (options.addend) return convert(context, options.addend, out);
    if (!options.accumulate) fill_zero(context, out);
    return;
  }
  ops::backend(context.device()).matmul(context, a, b, out, options);
}

bool bf16_matmul_is_native(Device device) {
  return ops::backend(device).bf16_matmul_is_native();
}

}  // namespace gda
