#include "gda/ops/rms_norm.h"

#include "bench/bench.h"

namespace gda::bench {
namespace {

// A micro-batch of a model that suits the device.
const std::int64_t kRows = on_cuda() ? 16384 : 8192;
const std::int64_t kHidden = on_cuda() ? 2048 : 768;

// Counts each activation once, as read or written; weights and rho are small beside them.
struct Tensors {
  explicit Tensors(DType type)
      : dtype(type),
        x(numbers(dtype, {kRows, kHidden})),
        dy(numbers(dtype, {kRows, kHidden})),
        y(dtype, {kRows, kHidden}),
        weight(numbers(DType::f32, {kHidden})),
        dweight(DType::f32, {kHidden}),
        rho(numbers(DType::f32, {kRows})) {}
  void report(benchmark::State& state, int passes) const {
    report_bytes(state, passes * static_cast<double>(x.tensor.bytes()));
  }
  DType dtype;
  BenchContext bench;
  BenchTensor x, dy, y, weight, dweight, rho;
};

void rms_norm_forward(benchmark::State& state, DType dtype) {
  Tensors t(dtype);
  run(state, t.bench.context, [&] {
    gda::rms_norm_forward(t.bench.context, t.x.tensor, t.weight.tensor, 1e-5, t.y.tensor,
                          t.rho.tensor);
  });
  t.report(state, 2);
}

// With the residual stream's gradient, which dx replaces.
void rms_norm_backward(benchmark::State& state, DType dtype) {
  Tensors t(dtype);
  run(state, t.bench.context, [&] {
    gda::rms_norm_backward(t.bench.context, t.dy.tensor, t.x.tensor, t.weight.tensor, t.rho.tensor,
                           t.y.tensor, t.y.tensor, t.dweight.tensor);
  });
  t.report(state, 4);
}

BENCHMARK_CAPTURE(rms_norm_forward, f32, DType::f32)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(rms_norm_forward, bf16, DType::bf16)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(rms_norm_backward, f32, DType::f32)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(rms_norm_backward, bf16, DType::bf16)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gda::bench
