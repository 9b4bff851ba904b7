// Shared by the operators' benchmarks: achieved rates, and their share of what this machine reaches
// in the same minute.
//
// Benchmarks call ->UseRealTime(), because the work is spread over threads.
#pragma once

#include <benchmark/benchmark.h>

#include "gda/core/memory.h"
#include "gda/ops/context.h"

namespace gda::bench {

// A CPU context with its own arena, whose memory is there before the clock starts.
struct CpuContext {
  CpuContext() {
    const ArenaScope scope(arena);
    arena.allocate(DType::f32, {1});
  }
  Arena arena;
  Context context{.stream = {}, .arena = arena};
};

// A tensor of numbers between -1 and 1.
OwnedTensor numbers(DType dtype, Shape shape);
// Whole numbers in [0, bound), as i32.
OwnedTensor indices(Shape shape, std::int64_t bound);

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
