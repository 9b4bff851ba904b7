#include "ops/dispatch.h"
#include "ops/muon_kernels.h"

namespace gda::cuda {

void momentum_update(const Context&, double, double, const Tensor&, const Tensor&) {
  ops::fail_missing("momentum_update", "GDA_CUDA");
}

void scale_by_norm(const Context&, double, const Tensor&, const Tensor&, double, const Tensor&) {
  ops::fail_missing("scale_by_norm", "GDA_CUDA");
}

void apply_direction(const Context&, double, double, const Tensor&, const Tensor&, const Tensor&) {
  ops::fail_missing("apply_direction", "GDA_CUDA");
}

void scale_rows(const Context&, const Tensor&, std::int64_t, std::int64_t, const Tensor&,
                const Tensor&) {
  ops::fail_missing("scale_rows", "GDA_CUDA");
}

}  // namespace gda::cuda
