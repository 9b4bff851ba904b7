#include "gda/ops/rope.h"

#include "bench/bench.h"

namespace gda::bench {
namespace {

const std::int64_t kRows = scaled(8192);
constexpr std::int64_t kHeadDim = 64;
constexpr std::int64_t kRotated = 24 * kHeadDim;           // Q and K
constexpr std::int64_t kFused = kRotated + 12 * kHeadDim;  // and V, which is left alone

void rope_forward(benchmark::State& state, DType dtype) {
  BenchContext bench;
  const BenchTensor qkv = numbers(dtype, {kRows, kFused});
  const BenchTensor position = indices({kRows}, 1024);
  const OwnedTensor table = make_rope_table(1e4, {}, 1024, kHeadDim, DType::f32);
  const Tensor rotated = qkv.tensor.columns(0, kRotated);
  run(state, bench.context,
      [&] { gda::rope_forward(bench.context, rotated, position.tensor, table.tensor); });
  report_bytes(state, 2 * static_cast<double>(rotated.bytes()));
}

BENCHMARK_CAPTURE(rope_forward, f32, DType::f32)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(rope_forward, bf16, DType::bf16)->UseManualTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gda::bench
