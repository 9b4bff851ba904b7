// Matrix products are cuBLAS's, which needs a GPU: the emulated device's are the host's.
#include "ops/backend.h"

#include "streams.h"

namespace gda::cuda {
namespace {

Tensor on_host(const Tensor& tensor) {
  return {tensor.raw(), tensor.dtype(), tensor.shape(), tensor.row_stride(), {}};
}

}  // namespace

void matmul(const Context& context, const Tensor& a, const Tensor& b, const Tensor& out,
            const MatmulOptions& options) {
  if (context.arena.is_plan()) return;
  emulation::enqueue(context.stream, [=] {
    Arena arena({}, std::size_t{64} << 10);  // made for every product: small
    MatmulOptions on_the_host = options;
    on_the_host.addend = on_host(options.addend);
    cpu::matmul({Stream{}, arena}, on_host(a), on_host(b), on_host(out), on_the_host);
  });
}

bool bf16_matmul_is_native() {
  return true;
}

}  // namespace gda::cuda
