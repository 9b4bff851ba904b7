#include "gda/ops/adamw.h"

#include "ops/adamw_kernels.h"
#include "ops/dispatch.h"

namespace gda {
namespace {

constexpr const char* kOp = "adamw_update";

void check_copy(const Context& context, const Tensor& master, const Tensor& copy) {
  if (copy.empty()) return;
  const bool rounded = copy.dtype() == DType::bf16 && master.dtype() == DType::f32;
  ops::check_tensor(kOp, "copy", copy, rounded ? DType::bf16 : master.dtype(), master.shape(),
                    context);
}

}  // namespace

void adamw_update(const Context& context, const AdamWStep& options, const Tensor& gradient,
                  const Tensor& master, const Tensor& m, const Tensor& v, const Tensor& copy) {
  require<OpError>(master.dtype() == DType::f32 || master.dtype() == DType::f64,
                   "[{}] master: expected f32 or f64, got {}", kOp, master.str());
  require<OpError>(master.rank() == 1, "[{}] master: expected a flat tensor, got {}", kOp,
                   master.str());
  require<OpError>(options.step >= 1, "[{}] step: expected 1 for the first update or more, got {}",
                   kOp, options.step);
  ops::check_tensor(kOp, "master", master, master.dtype(), master.shape(), context);
  ops::check_tensor(kOp, "gradient", gradient, master.dtype(), master.shape(), context);
  ops::check_tensor(kOp, "m", m, master.dtype(), master.shape(), context);
  ops::check_tensor(kOp, "v", v, master.dtype(), master.shape(), context);
  check_copy(context, master, copy);
  const Tensor target = copy.raw() == master.raw() ? Tensor() : copy;
  ops::on_device(
      context, [&] { cpu::adamw_update(context, options, gradient, master, m, v, target); },
      [&] { cuda::adamw_update(context, options, gradient, master, m, v, target); });
}

}  // namespace gda
