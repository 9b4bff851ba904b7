#include "gda/ops/elementwise.h"

#include "bench/bench.h"

namespace gda::bench {
namespace {

constexpr std::int64_t kElements = std::int64_t{1} << 24;

void convert_f32_bf16(benchmark::State& state) {
  CpuContext cpu;
  const OwnedTensor from = numbers(DType::f32, {kElements});
  const OwnedTensor to(DType::bf16, {kElements});
  for (auto _ : state) convert(cpu.context, from.tensor, to.tensor);
  report_bytes(state, 6.0 * kElements);
}

void add_f32(benchmark::State& state) {
  CpuContext cpu;
  const OwnedTensor x = numbers(DType::f32, {kElements});
  const OwnedTensor y = numbers(DType::f32, {kElements});
  for (auto _ : state) add(cpu.context, x.tensor, y.tensor);
  report_bytes(state, 12.0 * kElements);
}

void sum_of_squares_f32(benchmark::State& state) {
  CpuContext cpu;
  const OwnedTensor x = numbers(DType::f32, {kElements});
  const OwnedTensor sum(DType::f64, {1});
  for (auto _ : state) sum_of_squares(cpu.context, x.tensor, sum.tensor);
  report_bytes(state, 4.0 * kElements);
}

BENCHMARK(convert_f32_bf16)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(add_f32)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(sum_of_squares_f32)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gda::bench
