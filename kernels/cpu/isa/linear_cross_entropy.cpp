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

// As above; each logit becomes its exponential, so that the gradient does not work it out again.
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

struct RowState {
  double loss;
  float factor;  // scale / sum exp
};

RowState exponentials(float* logits, std::int64_t n, std::int64_t target, double scale) {
  const Peak peak = find_peak(logits, n);
  const double chosen = logits[target];
  const double sum = replace_by_exp(logits, n, peak.largest) + peak.poison;
  return {__builtin_log(sum) + (peak.largest - chosen), static_cast<float>(scale / sum)};
}

double loss(const float* logits, std::int64_t n, std::int64_t target) {
  const Peak peak = find_peak(logits, n);
  const double sum = sum_of_exp(logits, n, peak.largest) + peak.poison;
  return __builtin_log(sum) + (peak.largest - static_cast<double>(logits[target]));
}

double loss_and_gradient(float* logits, std::int64_t n, std::int64_t target, double scale) {
  const RowState row = exponentials(logits, n, target, scale);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) logits[i] *= row.factor;
  logits[target] -= static_cast<float>(scale);
  return row.loss;
}

double loss_and_bf16_gradient(float* logits, std::int64_t n, std::int64_t target, double scale) {
  const RowState row = exponentials(logits, n, target, scale);
  const float at_target = logits[target] * row.factor - static_cast<float>(scale);
  auto* bytes = reinterpret_cast<char*>(logits);
  // Element i is written below element i, so whole blocks are read before they are written over.
  constexpr std::int64_t kRounded = 64;
  for (std::int64_t begin = 0; begin < n; begin += kRounded) {
    const std::int64_t count = begin + kRounded < n ? kRounded : n - begin;
    float block[kRounded];
    bfloat16 rounded[kRounded];
    __builtin_memcpy(block, bytes + begin * 4, static_cast<std::size_t>(count) * 4);
    for (std::int64_t i = 0; i < count; ++i) store(rounded[i], block[i] * row.factor);
    __builtin_memcpy(bytes + begin * 2, rounded, static_cast<std::size_t>(count) * 2);
  }
  bfloat16 last;
  store(last, at_target);
  __builtin_memcpy(bytes + target * 2, &last, 2);
  return row.loss;
}

}  // namespace

const CrossEntropyTable kCrossEntropy{loss, loss_and_gradient, loss_and_bf16_gradient};

}  // namespace gda::cpu::GDA_ISA
