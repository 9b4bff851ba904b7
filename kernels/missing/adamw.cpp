#include "ops/adamw_kernels.h"

#include "ops/dispatch.h"

namespace gda::cuda {

void adamw_update(const Context&, const AdamWStep&, const Tensor&, const Tensor&, const Tensor&,
                  const Tensor&, const Tensor&, const AdamWOrigins&) {
  ops::fail_missing("adamw_update", "GDA_CUDA");
}

}  // namespace gda::cuda
