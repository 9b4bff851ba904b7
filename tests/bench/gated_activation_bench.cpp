#include "gda/ops/gated_activation.h"

#include "bench/bench.h"

namespace gda::bench {
namespace {

const std::int64_t kRows = on_cuda() ? 16384 : 4096;
const std::int64_t kInner = on_cuda() ? 8192 : 2048;

// gate and up are halves of fused rows, as the model has them.
struct Tensors {
  explicit Tensors(DType dtype)
      : inputs(numbers(dtype, {kRows, 2 * kInner})),
        dout(numbers(dtype, {kRows, kInner})),
        gradients(dtype, {kRows, 2 * kInner}),
        weight(numbers(DType::f32, {3})),
        bias(numbers(DType::f32, {1})),
        dweight(DType::f32, {3}),
        dbias(DType::f32, {1}) {}
  Tensor gate() const { return inputs.tensor.columns(0, kInner); }
  Tensor up() const { return inputs.tensor.columns(kInner, kInner); }
  Tensor dgate() const { return gradients.tensor.columns(0, kInner); }
  Tensor dup() const { return gradients.tensor.columns(kInner, kInner); }
  void report(benchmark::State& state, int passes) const {
    report_bytes(state, passes * static_cast<double>(dout.tensor.bytes()));
  }
  BenchContext bench;
  BenchTensor inputs, dout, gradients, weight, bias, dweight, dbias;
};

void swiglu_forward(benchmark::State& state, DType dtype) {
  Tensors t(dtype);
  run(state, t.bench.context,
      [&] { gda::swiglu_forward(t.bench.context, t.gate(), t.up(), t.dout.tensor); });
  t.report(state, 3);
}

void swiglu_backward(benchmark::State& state, DType dtype) {
  Tensors t(dtype);
  run(state, t.bench.context, [&] {
    gda::swiglu_backward(t.bench.context, t.gate(), t.up(), t.dout.tensor, t.dgate(), t.dup());
  });
  t.report(state, 5);
}

void poly_norm_forward(benchmark::State& state, DType dtype) {
  Tensors t(dtype);
  run(state, t.bench.context, [&] {
    gda::poly_norm_forward(t.bench.context, t.gate(), t.up(), t.weight.tensor, t.bias.tensor,
                           t.dout.tensor);
  });
  t.report(state, 3);
}

void poly_norm_backward(benchmark::State& state, DType dtype) {
  Tensors t(dtype);
  run(state, t.bench.context, [&] {
    gda::poly_norm_backward(t.bench.context, t.gate(), t.up(), t.weight.tensor, t.bias.tensor,
                            t.dout.tensor, t.dgate(), t.dup(), t.dweight.tensor, t.dbias.tensor);
  });
  t.report(state, 5);
}

BENCHMARK_CAPTURE(swiglu_forward, f32, DType::f32)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(swiglu_forward, bf16, DType::bf16)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(swiglu_backward, f32, DType::f32)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(swiglu_backward, bf16, DType::bf16)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(poly_norm_forward, f32, DType::f32)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(poly_norm_forward, bf16, DType::bf16)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(poly_norm_backward, f32, DType::f32)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(poly_norm_backward, bf16, DType::bf16)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gda::bench
