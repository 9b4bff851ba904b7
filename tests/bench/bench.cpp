#include "bench/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "gda/core/error.h"
#include "gda/core/philox.h"
#include "gda/ops/elementwise.h"
#include "gda/ops/matmul.h"

namespace gda::bench {
namespace {

// The shortest of some runs: what the machine can do when nobody else uses it.
template <class F>
double best_seconds(const F& run) {
  constexpr int kRuns = 8;
  double best = 1e30;
  run();
  for (int i = 0; i < kRuns; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    best = std::min(best, taken.count());
  }
  return best;
}

double measure_flops(DType dtype) {
  constexpr std::int64_t kSize = 2048;
  CpuContext cpu;
  const OwnedTensor a = numbers(dtype, {kSize, kSize});
  const OwnedTensor b = numbers(dtype, {kSize, kSize});
  const OwnedTensor out(dtype, {kSize, kSize});
  const double seconds = best_seconds([&] { matmul(cpu.context, a.tensor, b.tensor, out.tensor); });
  return 2.0 * kSize * kSize * kSize / seconds;
}

double measure_bytes() {
  constexpr std::int64_t kElements = std::int64_t{32} << 20;  // beyond every cache
  CpuContext cpu;
  const OwnedTensor from = numbers(DType::f32, {kElements});
  const OwnedTensor to(DType::f32, {kElements});
  const double seconds = best_seconds([&] { convert(cpu.context, from.tensor, to.tensor); });
  return 2.0 * static_cast<double>(from.tensor.bytes()) / seconds;
}

void report(benchmark::State& state, const char* name, double amount, double peak) {
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters[name] = benchmark::Counter(amount * 1e-9, rate);
  state.counters["peak_%"] = benchmark::Counter(100 * amount / peak, rate);
}

}  // namespace

OwnedTensor numbers(DType dtype, Shape shape) {
  const OwnedTensor f32(DType::f32, shape);
  for (std::int64_t i = 0; i < f32.tensor.elements(); ++i) {
    const auto word = static_cast<std::uint32_t>(i) * 2654435761U;  // multiplicative hash
    f32.tensor.data<float>()[i] = static_cast<float>(word >> 8) * 0x1p-23F - 1;
  }
  OwnedTensor result(dtype, shape);
  CpuContext cpu;
  convert(cpu.context, f32.tensor, result.tensor);
  return result;
}

OwnedTensor indices(Shape shape, std::int64_t bound) {
  OwnedTensor result(DType::i32, shape);
  const Philox random(1, RandomPurpose::test, "indices");
  for (std::int64_t i = 0; i < result.tensor.elements(); ++i) {
    const auto word = random.bits(static_cast<std::uint64_t>(i)) >> 32;
    result.tensor.data<std::int32_t>()[i] =
        static_cast<std::int32_t>(static_cast<std::int64_t>(word) % bound);
  }
  return result;
}

double peak_flops(DType dtype) {
  static const double single = measure_flops(DType::f32);
  if (dtype != DType::bf16 || !bf16_matmul_is_native()) return single;
  static const double half = measure_flops(DType::bf16);
  return half;
}

double peak_bytes() {
  static const double bytes = measure_bytes();
  return bytes;
}

void report_flops(benchmark::State& state, DType dtype, double flops) {
  report(state, "GFLOP/s", flops, peak_flops(dtype));
}

void report_bytes(benchmark::State& state, double bytes) {
  report(state, "GB/s", bytes, peak_bytes());
}

}  // namespace gda::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  using gda::DType;
  using gda::bench::peak_flops;
  benchmark::AddCustomContext("f32 peak",
                              fmt::format("{:.1f} GFLOP/s", peak_flops(DType::f32) / 1e9));
  benchmark::AddCustomContext("bf16 peak",
                              gda::bf16_matmul_is_native()
                                  ? fmt::format("{:.1f} GFLOP/s", peak_flops(DType::bf16) / 1e9)
                                  : "none: this processor does not multiply bf16");
  benchmark::AddCustomContext("memory peak",
                              fmt::format("{:.1f} GB/s", gda::bench::peak_bytes() / 1e9));
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
