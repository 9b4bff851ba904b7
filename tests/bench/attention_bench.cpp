#include "gda/ops/attention.h"

#include "bench/bench.h"

namespace gda::bench {
namespace {

// `ratio` signal heads and a noise head a group, which share a V of width 2d; ratio 0: plain
// attention, each query head with its own key and a V of width d.
AttentionShape make_shape(std::int64_t batch, std::int64_t length, std::int64_t head_dim,
                          int groups, int ratio) {
  AttentionShape shape;
  shape.batch = batch;
  shape.query_length = shape.key_length = length;
  shape.head_dim = head_dim;
  shape.value_dim = ratio == 0 ? head_dim : 2 * head_dim;
  shape.key_heads = ratio == 0 ? groups : 2 * groups;
  shape.value_heads = groups;
  for (int group = 0; group < groups; ++group) {
    for (int p = 0; p < ratio; ++p) shape.key_head.push_back(2 * group);
    shape.key_head.push_back(ratio == 0 ? group : 2 * group + 1);
    shape.value_head.insert(shape.value_head.end(), static_cast<std::size_t>(ratio) + 1, group);
  }
  return shape;
}

struct Layer {
  Layer(const benchmark::State& state, DType type)
      : shape(make_shape(state.range(0), state.range(1), state.range(2),
                         static_cast<int>(state.range(3)), static_cast<int>(state.range(4)))),
        q(numbers(type, rows(shape.query_heads() * shape.head_dim))),
        k(numbers(type, rows(shape.key_heads * shape.head_dim))),
        v(numbers(type, rows(shape.value_heads * shape.value_dim))),
        dout(numbers(type, rows(shape.query_heads() * shape.value_dim))),
        out(type, dout.tensor.shape()),
        lse(DType::f32, rows(shape.query_heads())),
        dq(type, q.tensor.shape()),
        dk(type, k.tensor.shape()),
        dv(type, v.tensor.shape()) {}

  Shape rows(std::int64_t width) const { return {shape.batch * shape.query_length, width}; }
  void forward() {
    attention_forward(bench.context, shape, q.tensor, k.tensor, v.tensor, {}, out.tensor,
                      lse.tensor);
  }
  void backward() {
    attention_backward(bench.context, shape, q.tensor, k.tensor, v.tensor, {}, out.tensor,
                       lse.tensor, dout.tensor, dq.tensor, dk.tensor, dv.tensor);
  }
  // Useful operations: pairs of a query and a key that it sees, times operations: 2d a score and
  // 2d_v an output, and in the backward pass 6d for scores, dq and dk and 4d_v for the weights'
  // gradient and dv.
  double flops(double d_factor, double value_factor) const {
    const auto length = static_cast<double>(shape.query_length);
    const auto pairs =
        static_cast<double>(shape.batch * shape.query_heads()) * length * (length + 1) / 2;
    return pairs * (d_factor * static_cast<double>(shape.head_dim) +
                    value_factor * static_cast<double>(shape.value_dim));
  }

  void report(benchmark::State& state, DType type, double flops) const {
    report_flops(state, on_cuda() ? type : DType::f32, flops);
    state.counters["causal_TFLOP/s"] =
        benchmark::Counter(flops * 1e-12, benchmark::Counter::kIsIterationInvariantRate);
  }

  BenchContext bench;
  AttentionShape shape;
  BenchTensor q, k, v, dout, out, lse, dq, dk, dv;
};

void attention_forward_pass(benchmark::State& state, DType type) {
  Layer layer(state, type);
  run(state, layer.bench.context, [&] { layer.forward(); });
  layer.report(state, type, layer.flops(2, 2));
}

void attention_backward_pass(benchmark::State& state, DType type) {
  Layer layer(state, type);
  layer.forward();
  run(state, layer.bench.context, [&] { layer.backward(); });
  layer.report(state, type, layer.flops(6, 4));
}

void layers(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"B", "T", "d", "groups", "ratio"})
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
  if (on_cuda()) {  // 16k tokens, 16 query heads
    bench->Args({4, 4096, 128, 4, 3})->Args({2, 8192, 128, 4, 3});
    bench->Args({4, 4096, 128, 16, 0})->Args({2, 8192, 128, 16, 0});
    bench->Args({4, 4096, 64, 4, 3})->Args({4, 4096, 64, 16, 0});
    return;
  }
  bench->Args({4, 256, 64, 12, 0})->Args({4, 256, 64, 4, 3})->Args({1, 1024, 64, 12, 0});
  bench->Args({1, 1024, 64, 4, 3})->Args({1, 1024, 128, 2, 4});
}

BENCHMARK_CAPTURE(attention_forward_pass, bf16, DType::bf16)->Apply(layers);
BENCHMARK_CAPTURE(attention_backward_pass, bf16, DType::bf16)->Apply(layers);
// In f32 a GPU has the plain kernel alone, which no training step runs: seconds a pass.
[[maybe_unused]] const bool kHasF32 = [] {
  if (on_cuda()) return false;
  const auto add = [](const char* name, auto pass) {
    layers(benchmark::RegisterBenchmark(name, pass, DType::f32));
  };
  add("attention_forward_pass/f32", attention_forward_pass);
  add("attention_backward_pass/f32", attention_backward_pass);
  return true;
}();

// One query against a cache of keys: a step of generation.
void attention_decoding(benchmark::State& state) {
  Layer layer(state, DType::f32);
  AttentionShape step = layer.shape;
  step.query_length = 1;
  step.query_offset = step.key_length - 1;
  run(state, layer.bench.context, [&] {
    attention_forward(layer.bench.context, step, layer.q.tensor.rows(0, step.batch), layer.k.tensor,
                      layer.v.tensor, {}, layer.out.tensor.rows(0, step.batch),
                      layer.lse.tensor.rows(0, step.batch));
  });
  report_bytes(state, static_cast<double>(layer.k.tensor.bytes() + layer.v.tensor.bytes()));
}
BENCHMARK(attention_decoding)->Apply(layers);

}  // namespace
}  // namespace gda::bench
