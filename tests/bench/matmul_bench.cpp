#include "gda/ops/matmul.h"

#include "bench/bench.h"

namespace gda::bench {
namespace {

// A linear layer of `tokens` rows, from `in` to `out` features.
struct Layer {
  explicit Layer(const benchmark::State& state, DType dtype)
      : tokens(state.range(0)),
        in(state.range(1)),
        out(state.range(2)),
        x(numbers(dtype, {tokens, in})),
        weight(numbers(dtype, {out, in})),
        y(dtype, {tokens, out}),
        dweight(accumulate_type(dtype), {out, in}) {}
  double flops() const {
    return 2.0 * static_cast<double>(tokens) * static_cast<double>(in) * static_cast<double>(out);
  }
  std::int64_t tokens, in, out;
  BenchTensor x, weight, y, dweight;
};

void forward(benchmark::State& state, DType dtype) {
  BenchContext bench;
  const Layer layer(state, dtype);
  run(state, bench.context, [&] {
    matmul(bench.context, layer.x.tensor, layer.weight.tensor, layer.y.tensor,
           {.transpose_b = true});
  });
  report_flops(state, dtype, layer.flops());
}

// As the projections onto the residual stream do it.
void forward_onto_residual(benchmark::State& state, DType dtype) {
  BenchContext bench;
  const Layer layer(state, dtype);
  const BenchTensor residual = numbers(dtype, layer.y.tensor.shape());
  run(state, bench.context, [&] {
    matmul(bench.context, layer.x.tensor, layer.weight.tensor, layer.y.tensor,
           {.transpose_b = true, .addend = residual.tensor});
  });
  report_flops(state, dtype, layer.flops());
}

void input_gradient(benchmark::State& state, DType dtype) {
  BenchContext bench;
  const Layer layer(state, dtype);
  run(state, bench.context,
      [&] { matmul(bench.context, layer.y.tensor, layer.weight.tensor, layer.x.tensor); });
  report_flops(state, dtype, layer.flops());
}

void weight_gradient(benchmark::State& state, DType dtype) {
  BenchContext bench;
  const Layer layer(state, dtype);
  run(state, bench.context, [&] {
    matmul(bench.context, layer.y.tensor, layer.x.tensor, layer.dweight.tensor,
           {.transpose_a = true, .accumulate = true});
  });
  report_flops(state, dtype, layer.flops());
}

// The layers of a 124M-parameter model at 1024 tokens; on a GPU those of
// scripts/bench/gda-1.5b.yaml at a micro-batch of 16,384.
void training_sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"tokens", "in", "out"})->UseManualTime()->Unit(benchmark::kMillisecond);
  if (on_cuda()) {
    for (const std::int64_t out : {2048, 2304, 16384}) bench->Args({16384, 2048, out});
    bench->Args({16384, 8192, 2048});
    return;
  }
  for (const std::int64_t out : {768, 2304, 4096, 50304}) bench->Args({1024, 768, out});
}

// Decoding: a few rows, bound by reading the weight.
void decoding_sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"tokens", "in", "out"})->UseManualTime()->Unit(benchmark::kMicrosecond);
  for (const std::int64_t tokens : {1, 8}) bench->Args({tokens, 768, 2304});
}

BENCHMARK_CAPTURE(forward, f32, DType::f32)->Apply(training_sizes);
BENCHMARK_CAPTURE(input_gradient, f32, DType::f32)->Apply(training_sizes);
BENCHMARK_CAPTURE(weight_gradient, f32, DType::f32)->Apply(training_sizes);
BENCHMARK_CAPTURE(forward, bf16, DType::bf16)->Apply(training_sizes);
BENCHMARK_CAPTURE(forward_onto_residual, bf16, DType::bf16)->Apply(training_sizes);
BENCHMARK_CAPTURE(input_gradient, bf16, DType::bf16)->Apply(training_sizes);
BENCHMARK_CAPTURE(weight_gradient, bf16, DType::bf16)->Apply(training_sizes);
BENCHMARK_CAPTURE(forward, decoding_f32, DType::f32)->Apply(decoding_sizes);

}  // namespace
}  // namespace gda::bench
