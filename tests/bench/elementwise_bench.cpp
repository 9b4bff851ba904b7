#include "gda/ops/elementwise.h"

#include "bench/bench.h"

namespace gda::bench {
namespace {

const std::int64_t kElements = scaled(std::int64_t{1} << 24);

void convert_f32_bf16(benchmark::State& state) {
  BenchContext bench;
  const BenchTensor from = numbers(DType::f32, {kElements});
  const BenchTensor to(DType::bf16, {kElements});
  run(state, bench.context, [&] { convert(bench.context, from.tensor, to.tensor); });
  report_bytes(state, 6.0 * kElements);
}

void add_f32(benchmark::State& state) {
  BenchContext bench;
  const BenchTensor x = numbers(DType::f32, {kElements});
  const BenchTensor y = numbers(DType::f32, {kElements});
  run(state, bench.context, [&] { add(bench.context, x.tensor, y.tensor); });
  report_bytes(state, 12.0 * kElements);
}

void sum_of_squares_f32(benchmark::State& state) {
  BenchContext bench;
  const BenchTensor x = numbers(DType::f32, {kElements});
  const BenchTensor sum(DType::f64, {1});
  run(state, bench.context, [&] { sum_of_squares(bench.context, x.tensor, sum.tensor); });
  report_bytes(state, 4.0 * kElements);
}

BENCHMARK(convert_f32_bf16)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK(add_f32)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK(sum_of_squares_f32)->UseManualTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gda::bench
