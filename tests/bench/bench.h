// Shared by the operators' benchmarks: achieved rates, and their share of what this machine reaches
// in the same minute. On the CPU, or with GDA_BENCH_DEVICE=cuda on a GPU.
//
// Benchmarks call ->UseManualTime(): run() takes the time.
#pragma once

#include <benchmark/benchmark.h>

#include <functional>

#include "gda/core/stream.h"
#include "gda/ops/context.h"

namespace gda::bench {

Device bench_device();
inline bool on_cuda() {
  return bench_device().type == DeviceType::cuda;
}
// Rows of a benchmark: a GPU needs more of them to be busy, and to be beyond its caches.
inline std::int64_t scaled(std::int64_t rows) {
  return on_cuda() ? 16 * rows : rows;
}

// A context of that device with its own arena, whose memory is there before the clock starts.
struct BenchContext {
  BenchContext() : stream(bench_device()), arena(bench_device()) {
    const ArenaScope scope(arena);
    arena.allocate(DType::f32, {1});
  }
  OwnedStream stream;
  Arena arena;
  Context context{.stream = stream.get(), .arena = arena};
};

// A tensor there.
struct BenchTensor : OwnedTensor {
  BenchTensor(DType dtype, Shape shape) : OwnedTensor(dtype, shape, bench_device()) {}
};
// Of numbers between -1 and 1.
BenchTensor numbers(DType dtype, Shape shape);
// Of whole numbers in [0, bound), as i32.
BenchTensor indices(Shape shape, std::int64_t bound);

// Times the work, which is put on the context's stream: alone on the CPU, on a GPU in groups
// between two of its events, so that launching is hidden.
void run(benchmark::State& state, const Context& context, const std::function<void()>& work);

// Operations per second of a large matrix product of this type: the best of some runs, measured
// when first asked for. bf16 counts as f32 where the processor does not multiply bf16.
double peak_flops(DType dtype);
// Bytes per second, read and written, of a large copy.
double peak_bytes();

// Adds the counters GFLOP/s and peak_% (of peak_flops) for this many operations an iteration.
void report_flops(benchmark::State& state, DType dtype, double flops);
// Adds the counters GB/s and peak_% (of peak_bytes) for this many bytes an iteration.
void report_bytes(benchmark::State& state, double bytes);

}  // namespace gda::bench
