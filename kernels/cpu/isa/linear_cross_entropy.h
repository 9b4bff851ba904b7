// Softmax cross-entropy of one row of n logits, and its gradient.
#pragma once

#include <cstdint>

#include "gda/core/dtype.h"

namespace gda::cpu {

struct CrossEntropyTable {
  // log sum exp(logits) - logits[target].
  double (*loss)(const float* logits, std::int64_t n, std::int64_t target);
  // The same; logits become scale * (softmax(logits) - one_hot(target)).
  double (*loss_and_gradient)(float* logits, std::int64_t n, std::int64_t target, double scale);
  // The same, with the gradient rounded to bf16 in the first half of the row's memory.
  double (*loss_and_bf16_gradient)(float* logits, std::int64_t n, std::int64_t target,
                                   double scale);
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
