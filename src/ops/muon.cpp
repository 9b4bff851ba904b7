#include "gda/ops/muon.h"

#include "ops/backend.h"
#include "ops/dispatch.h"

namespace gda {
namespace {

void check_wide(const char* op, const char* name, const Tensor& tensor) {
  require<OpError>(tensor.dtype() == DType::f32 || tensor.dtype() == DType::f64,
                   "[{}] {}: expected fp32 or fp64, got {}", op, name, tensor.str());
}

// A tensor beside one of type `wide`: of the same type, or bf16 beside f32.
void check_beside(const char* op, const char* name, const Tensor& tensor, const Tensor& wide,
                  const Context& context) {
  const bool is_narrow = tensor.dtype() == DType::bf16 && wide.dtype() == DType::f32;
  ops::check_tensor(op, name, tensor, is_narrow ? DType::bf16 : wide.dtype(), wide.shape(),
                    context);
}

void check_master(const char* op, const Tensor& master, const Tensor& copy,
                  const Context& context) {
  check_wide(op, "master", master);
  require<OpError>(master.rank() == 1, "[{}] master: expected a flat tensor, got {}", op,
                   master.str());
  ops::check_tensor(op, "master", master, master.dtype(), master.shape(), context);
  if (copy) check_beside(op, "copy", copy, master, context);
}

Tensor unless_same(const Tensor& copy, const Tensor& master) {
  return copy.raw() == master.raw() ? Tensor() : copy;
}

}  // namespace

void momentum_update(const Context& context, double mu, double gradient_scale,
                     const Tensor& gradient, const Tensor& momentum) {
  constexpr const char* kOp = "momentum_update";
  check_wide(kOp, "gradient", gradient);
  ops::check_tensor(kOp, "gradient", gradient, gradient.dtype(), gradient.shape(), context);
  ops::check_tensor(kOp, "momentum", momentum, gradient.dtype(), gradient.shape(), context);
  if (gradient.elements() == 0) return;
  ops::backend(context.device()).momentum_update(context, mu, gradient_scale, gradient, momentum);
}

void scale_by_norm(const Context& context, double scale, const Tensor& x, const Tensor& squares,
                   double eps, const Tensor& y) {
  constexpr const char* kOp = "scale_by_norm";
  check_wide(kOp, "x", x);
  ops::check_tensor(kOp, "x", x, x.dtype(), x.shape(), context);
  ops::check_tensor(kOp, "squares", squares, DType::f64, {1}, context);
  check_beside(kOp, "y", y, x, context);
  if (x.elements() == 0) return;
  ops::backend(context.device()).scale_by_norm(context, scale, x, squares, eps, y);
}

void apply_direction(const Context& context, double decay, double step, const Tensor& x,
                     const Tensor& master, const Tensor& copy) {
  constexpr const char* kOp = "apply_direction";
  check_master(kOp, master, copy, context);
  check_beside(kOp, "x", x, master, context);
  if (master.elements() == 0) return;
  const Tensor target = unless_same(copy, master);
  ops::backend(context.device()).apply_direction(context, decay, step, x, master, target);
}

void scale_rows(const Context& context, const Tensor& factors, std::int64_t row_length,
                std::int64_t offset, const Tensor& master, const Tensor& copy) {
  constexpr const char* kOp = "scale_rows";
  check_master(kOp, master, copy, context);
  const std::int64_t rows = factors.elements();
  ops::check_tensor(kOp, "factors", factors, master.dtype(), {rows}, context);
  require<OpError>(
      row_length >= 1 && offset >= 0 && offset + master.elements() <= rows * row_length,
      "[{}] elements {} to {} do not lie in {} rows of {} elements", kOp, offset,
      offset + master.elements(), rows, row_length);
  if (master.elements() == 0) return;
  const Tensor target = unless_same(copy, master);
  ops::backend(context.device()).scale_rows(context, factors, row_length, offset, master, target);
}

}  // namespace gda
