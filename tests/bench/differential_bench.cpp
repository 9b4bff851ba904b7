#include "gda/ops/differential.h"

#include "bench/bench.h"

namespace gda::bench {
namespace {

const std::int64_t kRows = on_cuda() ? 16384 : 4096;

// Three signal heads to a noise head, d = 64; on a GPU 128.
struct Tensors {
  explicit Tensors(DType dtype)
      : attended(numbers(dtype, {kRows, shape.heads() * shape.value_dim})),
        dattended(dtype, attended.tensor.shape()),
        y(numbers(dtype, {kRows, shape.signal_heads() * shape.value_dim})),
        lambda(numbers(DType::f32, {1})),
        subln(numbers(DType::f32, {shape.value_dim})),
        dsubln(DType::f32, {shape.value_dim}),
        dlambda(DType::f32, {1}),
        delta(DType::f32, {kRows, shape.heads()}),
        rho(numbers(DType::f32, {kRows, shape.signal_heads()})) {}
  DifferentialShape shape{
      .noise_heads = 3, .ratio = 3, .value_dim = on_cuda() ? 256 : 128, .lambda_init = 0.2};
  BenchContext bench;
  BenchTensor attended, dattended, y, lambda, subln, dsubln, dlambda, delta, rho;
};

void differential_forward(benchmark::State& state, DType dtype) {
  Tensors t(dtype);
  run(state, t.bench.context, [&] {
    gda::differential_forward(t.bench.context, t.shape, t.attended.tensor, t.lambda.tensor,
                              t.subln.tensor, t.y.tensor, t.rho.tensor);
  });
  report_bytes(state, static_cast<double>(t.attended.tensor.bytes() + t.y.tensor.bytes()));
}

void differential_backward(benchmark::State& state, DType dtype) {
  Tensors t(dtype);
  run(state, t.bench.context, [&] {
    gda::differential_backward(t.bench.context, t.shape, t.attended.tensor, t.lambda.tensor,
                               t.subln.tensor, t.rho.tensor, t.y.tensor, t.dattended.tensor,
                               t.dsubln.tensor, t.dlambda.tensor, t.delta.tensor);
  });
  report_bytes(state, static_cast<double>(2 * t.attended.tensor.bytes() + t.y.tensor.bytes()));
}

// DIFF V2: 24 heads of 64 in pairs.
struct GatedTensors {
  explicit GatedTensors(DType dtype)
      : attended(numbers(dtype, {kRows, 1536})),
        dattended(dtype, {kRows, 1536}),
        gate(numbers(dtype, {kRows, 12})),
        dgate(dtype, {kRows, 12}),
        out(numbers(dtype, {kRows, 768})) {}
  BenchContext bench;
  BenchTensor attended, dattended, gate, dgate, out;
};

void gated_difference_forward(benchmark::State& state, DType dtype) {
  GatedTensors t(dtype);
  run(state, t.bench.context, [&] {
    gda::gated_difference_forward(t.bench.context, t.attended.tensor, t.gate.tensor, t.out.tensor);
  });
  report_bytes(state, static_cast<double>(t.attended.tensor.bytes() + t.out.tensor.bytes()));
}

void gated_difference_backward(benchmark::State& state, DType dtype) {
  GatedTensors t(dtype);
  run(state, t.bench.context, [&] {
    gda::gated_difference_backward(t.bench.context, t.attended.tensor, t.gate.tensor, t.out.tensor,
                                   t.dattended.tensor, t.dgate.tensor);
  });
  // Reads the second heads and dout; writes both heads' gradients.
  report_bytes(state, static_cast<double>(t.attended.tensor.bytes() + 2 * t.out.tensor.bytes()));
}

BENCHMARK_CAPTURE(differential_forward, f32, DType::f32)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(differential_forward, bf16, DType::bf16)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(differential_backward, f32, DType::f32)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(differential_backward, bf16, DType::bf16)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(gated_difference_forward, f32, DType::f32)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(gated_difference_backward, f32, DType::f32)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(gated_difference_backward, bf16, DType::bf16)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gda::bench
