#include "isa/linear_cross_entropy.h"

#include "isa/element.h"
#include "isa/vector_math.h"

namespace gda::cpu::GDA_ISA {
namespace {

// Logits between additions to the f64 sum: a f32 lane adds at most 512 / 4 numbers.
constexpr std::int64_t kBlock = 512;

struct Peak {
  float largest;
  float poison;  // 0, or NaN if a logit is not finite
};

Peak find_peak(const float* logits, std::int64_t n) {
  float largest = logits[0];
  float poison = 0;
#pragma omp simd reduction(max : largest) reduction(+ : poison)
  for (std::int64_t i = 0; i < n; ++i) {
    largest = logits[i] > largest ? logits[i] : largest;
    poison += logits[i] * 0.0F;
  }
  return {largest, poison};
}

double sum_of_exp(const float* logits, std::int64_t n, float largest) {
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t end = begin + kBlock < n ? begin + kBlock : n;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = begin; i < end; ++i) sum += vector_exp(logits[i] - largest);
    total += static_cast<double>(sum);
  }
  return total;
}

// As above; each logit becomes its exponential.
double replace_by_exp(float* logits, std::int64_t n, float largest) {
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t end = begin + kBlock < n ? begin + kBlock : n;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = begin; i < end; ++i) {
      logits[i] = vector_exp(logits[i] - largest);
      sum += logits[i];
    }
    total += static_cast<double>(sum);
  }
  return total;
}

CrossEntropyTable::Statistics statistics(const float* logits, std::int64_t n) {
  const Peak peak = find_peak(logits, n);
  return {peak.largest, sum_of_exp(logits, n, peak.largest) + peak.poison};
}

CrossEntropyTable::Statistics exponentials(float* logits, std::int64_t n) {
  const Peak peak = find_peak(logits, n);
  return {peak.largest, replace_by_exp(logits, n, peak.largest) + peak.poison};
}

void gradient(float* exponentials, std::int64_t n, std::int64_t target, double scale, double sum) {
  const auto factor = static_cast<float>(scale / sum);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) exponentials[i] *= factor;
  if (target >= 0) exponentials[target] -= static_cast<float>(scale);
}

void bf16_gradient(float* exponentials, std::int64_t n, std::int64_t target, double scale,
                   double sum) {
  const auto factor = static_cast<float>(scale / sum);
  const float at_target =
      target >= 0 ? exponentials[target] * factor - static_cast<float>(scale) : 0.0F;
  auto* bytes = reinterpret_cast<char*>(exponentials);
  // Element i is written below element i, so whole blocks are read before they are written over.
  constexpr std::int64_t kRounded = 64;
  for (std::int64_t begin = 0; begin < n; begin += kRounded) {
    const std::int64_t count = begin + kRounded < n ? kRounded : n - begin;
    float block[kRounded];
    bfloat16 rounded[kRounded];
    __builtin_memcpy(block, bytes + begin * 4, static_cast<std::size_t>(count) * 4);
    for (std::int64_t i = 0; i < count; ++i) store(rounded[i], block[i] * factor);
    __builtin_memcpy(bytes + begin * 2, rounded, static_cast<std::size_t>(count) * 2);
  }
  if (target < 0) return;
  bfloat16 last;
  store(last, at_target);
  __builtin_memcpy(bytes + target * 2, &last, 2);
}

}  // namespace

const CrossEntropyTable kCrossEntropy{statistics, exponentials, gradient, bf16_gradient};

}  // namespace gda::cpu::GDA_ISA
