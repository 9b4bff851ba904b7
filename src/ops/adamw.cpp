#include "gda/ops/adamw.h"

#include "ops/backend.h"
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

void check_origins(const Context& context, const AdamWOrigins& origins, std::int64_t elements) {
  if (origins.empty()) return;
  const std::int64_t width = origins.row_length;
  require<OpError>(width >= 1 && origins.offset >= 0,
                   "[{}] origins: expected a row length of 1 or more and an offset of 0 or more, "
                   "got {} and {}",
                   kOp, width, origins.offset);
  if (!origins.columns.empty()) {
    ops::check_tensor(kOp, "origins.columns", origins.columns, DType::i32, {width}, context);
  }
  if (origins.rows.empty()) return;
  const std::int64_t rows = origins.rows.elements();
  ops::check_tensor(kOp, "origins.rows", origins.rows, DType::i32, {rows}, context);
  require<OpError>(origins.offset + elements <= rows * width,
                   "[{}] origins.rows: {} rows of {} elements end before element {} of the piece",
                   kOp, rows, width, origins.offset + elements);
}

}  // namespace

void adamw_update(const Context& context, const AdamWStep& options, const Tensor& gradient,
                  const Tensor& master, const Tensor& m, const Tensor& v, const Tensor& copy,
                  const AdamWOrigins& origins) {
  require<OpError>(master.dtype() == DType::f32 || master.dtype() == DType::f64,
                   "[{}] master: expected fp32 or fp64, got {}", kOp, master.str());
  require<OpError>(master.rank() == 1, "[{}] master: expected a flat tensor, got {}", kOp,
                   master.str());
  require<OpError>(options.step >= 1, "[{}] step: expected 1 for the first update or more, got {}",
                   kOp, options.step);
  ops::check_tensor(kOp, "master", master, master.dtype(), master.shape(), context);
  ops::check_tensor(kOp, "gradient", gradient, master.dtype(), master.shape(), context);
  ops::check_tensor(kOp, "m", m, master.dtype(), master.shape(), context);
  ops::check_tensor(kOp, "v", v, master.dtype(), master.shape(), context);
  check_copy(context, master, copy);
  check_origins(context, origins, master.elements());
  const Tensor target = copy.raw() == master.raw() ? Tensor() : copy;
  ops::backend(context.device())
      .adamw_update(context, {.step = options,
                              .gradient = gradient,
                              .master = master,
                              .m = m,
                              .v = v,
                              .copy = target,
                              .origins = origins});
}

}  // namespace gda
