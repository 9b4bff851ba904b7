#include "gda/ops/embedding.h"

#include "bench/bench.h"

namespace gda::bench {
namespace {

constexpr std::int64_t kTokens = 1024;
constexpr std::int64_t kVocabulary = 50304;
constexpr std::int64_t kWidth = 768;

void embedding_forward_f32(benchmark::State& state) {
  CpuContext cpu;
  const OwnedTensor token = indices({kTokens}, kVocabulary);
  const OwnedTensor table = numbers(DType::f32, {kVocabulary, kWidth});
  const OwnedTensor y(DType::f32, {kTokens, kWidth});
  for (auto _ : state) embedding_forward(cpu.context, token.tensor, table.tensor, y.tensor);
  report_bytes(state, 8.0 * kTokens * kWidth);
}

void embedding_backward_f32(benchmark::State& state) {
  CpuContext cpu;
  const OwnedTensor token = indices({kTokens}, kVocabulary);
  const OwnedTensor dy = numbers(DType::f32, {kTokens, kWidth});
  const OwnedTensor dtable(DType::f32, {kVocabulary, kWidth});
  for (auto _ : state) embedding_backward(cpu.context, token.tensor, dy.tensor, dtable.tensor);
  report_bytes(state, 12.0 * kTokens * kWidth);
}

BENCHMARK(embedding_forward_f32)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(embedding_backward_f32)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace gda::bench
