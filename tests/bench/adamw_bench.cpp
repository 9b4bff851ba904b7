#include "gda/ops/adamw.h"

#include "bench/bench.h"

namespace gda::bench {
namespace {

constexpr std::int64_t kParameters = std::int64_t{1} << 24;

// Gradient, master, m and v are read, the last three written, and a bf16 copy is if there is one.
void adamw(benchmark::State& state, bool bf16_copy) {
  CpuContext cpu;
  const OwnedTensor gradient = numbers(DType::f32, {kParameters});
  const OwnedTensor master = numbers(DType::f32, {kParameters});
  const OwnedTensor m(DType::f32, {kParameters});
  const OwnedTensor v(DType::f32, {kParameters});
  const OwnedTensor copy(DType::bf16, {bf16_copy ? kParameters : 0});
  const AdamWStep step{.lr = 1e-4, .weight_decay = 0.1};
  for (auto _ : state) {
    adamw_update(cpu.context, step, gradient.tensor, master.tensor, m.tensor, v.tensor,
                 bf16_copy ? copy.tensor : Tensor());
  }
  report_bytes(state, (bf16_copy ? 30.0 : 28.0) * kParameters);
}

BENCHMARK_CAPTURE(adamw, f32, false)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(adamw, bf16_copy, true)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gda::bench
