// Softmax cross-entropy of one row of n logits: its statistics, and its gradient.
#pragma once

#include <cstdint>

#include "gda/core/dtype.h"

namespace gda::cpu {

struct CrossEntropyTable {
  struct Statistics {
    float largest;
    double sum;  // of exp(logit - largest); NaN if a logit is not finite
  };
  Statistics (*statistics)(const float* logits, std::int64_t n);
  // The same; logits become exp(logit - largest), so that the gradient does not work it out again.
  Statistics (*exponentials)(float* logits, std::int64_t n);
  // exponentials become scale * (exponentials / sum - one_hot(target)); a target below 0 is none
  // of these.
  void (*gradient)(float* exponentials, std::int64_t n, std::int64_t target, double scale,
                   double sum);
  // The same, rounded to bf16 in the first half of the row's memory.
  void (*bf16_gradient)(float* exponentials, std::int64_t n, std::int64_t target, double scale,
                        double sum);
};

namespace baseline {
extern const CrossEntropyTable kCrossEntropy;
}
namespace avx2 {
extern const CrossEntropyTable kCrossEntropy;
}
namespace avx512 {
extern const CrossEntropyTable kCrossEntropy;
}

}  // namespace gda::cpu
