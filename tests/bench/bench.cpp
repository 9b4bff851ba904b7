#include "bench/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "gda/core/environment.h"
#include "gda/core/error.h"
#include "gda/core/philox.h"
#include "gda/ops/elementwise.h"
#include "gda/ops/matmul.h"

namespace gda::bench {
namespace {

// One run of a group of `count`, in seconds.
double seconds_of(const Context& context, int count, const std::function<void()>& work) {
  const Device device = context.device();
  Event begin(device);
  Event end(device);
  const auto start = std::chrono::steady_clock::now();
  begin.record(context.stream);
  for (int i = 0; i < count; ++i) work();
  end.record(context.stream);
  end.wait();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  const double seconds = device.type == DeviceType::cuda ? begin.seconds_until(end) : taken.count();
  return seconds / count;
}

int group_size() {
  return on_cuda() ? 10 : 1;
}

// The shortest of some runs: what the machine can do when nobody else uses it.
double best_seconds(const Context& context, const std::function<void()>& work) {
  constexpr int kRuns = 8;
  double best = 1e30;
  work();
  for (int i = 0; i < kRuns; ++i) best = std::min(best, seconds_of(context, group_size(), work));
  return best;
}

double measure_flops(DType dtype) {
  const std::int64_t size = on_cuda() ? 8192 : 2048;
  const BenchContext bench;
  const BenchTensor a = numbers(dtype, {size, size});
  const BenchTensor b = numbers(dtype, {size, size});
  const BenchTensor out(dtype, {size, size});
  const double seconds =
      best_seconds(bench.context, [&] { matmul(bench.context, a.tensor, b.tensor, out.tensor); });
  return 2.0 * std::pow(static_cast<double>(size), 3) / seconds;
}

double measure_bytes() {
  const std::int64_t elements = scaled(std::int64_t{32} << 20);  // beyond every cache
  const BenchContext bench;
  const BenchTensor from = numbers(DType::f32, {elements});
  const BenchTensor to(DType::f32, {elements});
  const double seconds =
      best_seconds(bench.context, [&] { copy(bench.context.stream, from.tensor, to.tensor); });
  return 2.0 * static_cast<double>(from.tensor.bytes()) / seconds;
}

void report(benchmark::State& state, const char* name, double amount, double peak) {
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters[name] = benchmark::Counter(amount * 1e-9, rate);
  state.counters["peak_%"] = benchmark::Counter(100 * amount / peak, rate);
}

}  // namespace

Device bench_device() {
  static const char* const name = environment("GDA_BENCH_DEVICE");
  const bool cuda = name != nullptr && std::string_view(name) == "cuda";
  return cuda ? Device{DeviceType::cuda, 0} : Device{};
}

void run(benchmark::State& state, const Context& context, const std::function<void()>& work) {
  work();  // chooses algorithms, takes memory
  // Until now a GPU has waited for the host, at clocks that are lower than under load.
  if (on_cuda()) seconds_of(context, group_size(), work);
  for (auto _ : state) state.SetIterationTime(seconds_of(context, group_size(), work));
}

BenchTensor numbers(DType dtype, Shape shape) {
  const BenchContext bench;
  const BenchTensor f32(DType::f32, shape);
  fill_from_host(bench.context.stream, f32.tensor, [](const Tensor& host) {
    const std::int64_t count = host.elements();
#pragma omp parallel for schedule(static)
    for (std::int64_t i = 0; i < count; ++i) {
      const auto word = static_cast<std::uint32_t>(i) * 2654435761U;  // multiplicative hash
      host.data<float>()[i] = static_cast<float>(word >> 8) * 0x1p-23F - 1;
    }
  });
  BenchTensor result(dtype, shape);
  convert(bench.context, f32.tensor, result.tensor);
  synchronize(bench.context.stream);
  return result;
}

BenchTensor indices(Shape shape, std::int64_t bound) {
  const BenchContext bench;
  BenchTensor result(DType::i32, shape);
  const Philox random(1, RandomPurpose::test, "indices");
  fill_from_host(bench.context.stream, result.tensor, [&](const Tensor& host) {
    for (std::int64_t i = 0; i < host.elements(); ++i) {
      const auto word = random.bits(static_cast<std::uint64_t>(i)) >> 32;
      host.data<std::int32_t>()[i] =
          static_cast<std::int32_t>(static_cast<std::int64_t>(word) % bound);
    }
  });
  synchronize(bench.context.stream);
  return result;
}

double peak_flops(DType dtype) {
  if (dtype == DType::bf16 && bf16_matmul_is_native(bench_device())) {
    static const double half = measure_flops(DType::bf16);
    return half;
  }
  static const double single = measure_flops(DType::f32);
  return single;
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

namespace {

int run_all(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  using gda::DType;
  using gda::bench::peak_flops;
  if (!gda::bench::on_cuda()) {  // there seconds for a figure that no training step depends on
    benchmark::AddCustomContext("f32 peak",
                                fmt::format("{:.1f} GFLOP/s", peak_flops(DType::f32) / 1e9));
  }
  benchmark::AddCustomContext("bf16 peak",
                              gda::bf16_matmul_is_native(gda::bench::bench_device())
                                  ? fmt::format("{:.1f} GFLOP/s", peak_flops(DType::bf16) / 1e9)
                                  : "none: this processor does not multiply bf16");
  benchmark::AddCustomContext("memory peak",
                              fmt::format("{:.1f} GB/s", gda::bench::peak_bytes() / 1e9));
  if (gda::bench::on_cuda()) {
    benchmark::AddCustomContext("GPU", gda::facts_of(gda::bench::bench_device()).name);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_all(argc, argv);
  } catch (const gda::Error& error) {
    std::fprintf(stderr, "gda_ops_bench: error: %s\n", error.what());
    return 1;
  }
}
