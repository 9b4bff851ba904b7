#include "gda/ops/muon.h"

#include <algorithm>

#include "bench/bench.h"
#include "gda/ops/newton_schulz.h"

namespace gda::bench {
namespace {

const std::int64_t kElements = scaled(std::int64_t{1} << 24);

// The gradient and the momentum are read and written.
void momentum(benchmark::State& state) {
  BenchContext bench;
  const BenchTensor gradient = numbers(DType::f32, {kElements});
  const BenchTensor buffer(DType::f32, {kElements});
  run(state, bench.context,
      [&] { momentum_update(bench.context, 0.95, 1, gradient.tensor, buffer.tensor); });
  report_bytes(state, 16.0 * static_cast<double>(kElements));
}
BENCHMARK(momentum)->UseManualTime()->Unit(benchmark::kMillisecond);

// All products of five iterations.
void iterations(benchmark::State& state, DType dtype) {
  BenchContext bench;
  const std::int64_t rows = state.range(0);
  const std::int64_t columns = state.range(1);
  const BenchTensor u = numbers(accumulate_type(dtype), {rows, columns});
  const BenchTensor x(dtype, {rows, columns});
  run(state, bench.context, [&] { newton_schulz(bench.context, u.tensor, x.tensor); });
  const auto side = static_cast<double>(std::min(rows, columns));
  const auto elements = static_cast<double>(rows * columns);
  report_flops(state, dtype, 20 * elements * side + 10 * side * side * side);
}
BENCHMARK_CAPTURE(iterations, f32, DType::f32)
    ->Args({768, 768})
    ->Args({3072, 768})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(iterations, bf16, DType::bf16)
    ->Args({768, 768})
    ->Args({3072, 768})
    ->Args({4096, 4096})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gda::bench
