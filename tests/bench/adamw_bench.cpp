#include "gda/ops/adamw.h"

#include "bench/bench.h"

namespace gda::bench {
namespace {

const std::int64_t kParameters = scaled(std::int64_t{1} << 24);

// Gradient, master, m and v are read, the last three written, and a bf16 copy is if there is one.
void adamw(benchmark::State& state, bool bf16_copy) {
  BenchContext bench;
  const BenchTensor gradient = numbers(DType::f32, {kParameters});
  const BenchTensor master = numbers(DType::f32, {kParameters});
  const BenchTensor m(DType::f32, {kParameters});
  const BenchTensor v(DType::f32, {kParameters});
  const BenchTensor copy(DType::bf16, {bf16_copy ? kParameters : 0});
  const AdamWStep step{.lr = 1e-4, .weight_decay = 0.1};
  run(state, bench.context, [&] {
    adamw_update(bench.context, step, gradient.tensor, master.tensor, m.tensor, v.tensor,
                 bf16_copy ? copy.tensor : Tensor());
  });
  report_bytes(state, (bf16_copy ? 30.0 : 28.0) * kParameters);
}

BENCHMARK_CAPTURE(adamw, f32, false)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(adamw, bf16_copy, true)->UseManualTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gda::bench
