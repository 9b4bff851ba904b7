#include "gda/ops/linear_cross_entropy.h"

#include "bench/bench.h"

namespace gda::bench {
namespace {

const std::int64_t kTokens = scaled(1024);
const std::int64_t kVocabulary = on_cuda() ? 32000 : 50304;
const std::int64_t kWidth = on_cuda() ? 2048 : 768;
const double kProductFlops = 2.0 * static_cast<double>(kTokens * kVocabulary * kWidth);

// Logits of one chunk in MiB.
void chunks(benchmark::internal::Benchmark* bench) {
  bench->ArgName("MiB");
  if (on_cuda()) {
    bench->Arg(256)->Arg(1024);
  } else {
    bench->Arg(16)->Arg(64)->Arg(256);
  }
  bench->UseManualTime()->Unit(benchmark::kMillisecond);
}

LinearCrossEntropyOptions options(const benchmark::State& state) {
  return {.max_logit_bytes = static_cast<std::size_t>(state.range(0)) << 20};
}

void loss(benchmark::State& state, DType dtype) {
  BenchContext bench;
  const BenchTensor x = numbers(dtype, {kTokens, kWidth});
  const BenchTensor weight = numbers(dtype, {kVocabulary, kWidth});
  const BenchTensor target = indices({kTokens}, kVocabulary);
  const BenchTensor losses(DType::f32, {kTokens});
  run(state, bench.context, [&] {
    linear_cross_entropy_forward(bench.context, x.tensor, weight.tensor, target.tensor,
                                 losses.tensor, options(state));
  });
  report_flops(state, dtype, kProductFlops);
}

void loss_and_gradients(benchmark::State& state, DType dtype) {
  BenchContext bench;
  const BenchTensor x = numbers(dtype, {kTokens, kWidth});
  const BenchTensor weight = numbers(dtype, {kVocabulary, kWidth});
  const BenchTensor target = indices({kTokens}, kVocabulary);
  const BenchTensor losses(DType::f32, {kTokens});
  const BenchTensor dx(dtype, {kTokens, kWidth});
  const BenchTensor dweight(DType::f32, {kVocabulary, kWidth});
  run(state, bench.context, [&] {
    linear_cross_entropy_forward_backward(bench.context, x.tensor, weight.tensor, target.tensor,
                                          1.0 / kTokens, losses.tensor, dx.tensor, dweight.tensor,
                                          options(state));
  });
  report_flops(state, dtype, 3 * kProductFlops);
}

BENCHMARK_CAPTURE(loss, f32, DType::f32)->Apply(chunks);
BENCHMARK_CAPTURE(loss_and_gradients, f32, DType::f32)->Apply(chunks);
BENCHMARK_CAPTURE(loss_and_gradients, bf16, DType::bf16)->Apply(chunks);

}  // namespace
}  // namespace gda::bench
