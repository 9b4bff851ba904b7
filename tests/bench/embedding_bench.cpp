#include "gda/ops/embedding.h"

#include "bench/bench.h"

namespace gda::bench {
namespace {

const std::int64_t kTokens = scaled(1024);
constexpr std::int64_t kVocabulary = 50304;
constexpr std::int64_t kWidth = 768;

void embedding_forward_f32(benchmark::State& state) {
  BenchContext bench;
  const BenchTensor token = indices({kTokens}, kVocabulary);
  const BenchTensor table = numbers(DType::f32, {kVocabulary, kWidth});
  const BenchTensor y(DType::f32, {kTokens, kWidth});
  run(state, bench.context,
      [&] { embedding_forward(bench.context, token.tensor, table.tensor, y.tensor); });
  report_bytes(state, 8.0 * kTokens * kWidth);
}

void embedding_backward_f32(benchmark::State& state) {
  BenchContext bench;
  const BenchTensor token = indices({kTokens}, kVocabulary);
  const BenchTensor dy = numbers(DType::f32, {kTokens, kWidth});
  const BenchTensor dtable(DType::f32, {kVocabulary, kWidth});
  run(state, bench.context,
      [&] { embedding_backward(bench.context, token.tensor, dy.tensor, dtable.tensor); });
  report_bytes(state, 12.0 * kTokens * kWidth);
}

BENCHMARK(embedding_forward_f32)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(embedding_backward_f32)->UseManualTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace gda::bench
