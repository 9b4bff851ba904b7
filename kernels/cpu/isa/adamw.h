// AdamW over n consecutive parameters.
#pragma once

#include <cstdint>

#include "gda/core/dtype.h"

namespace gda::cpu {

// AdamWStep with everything that depends on the step alone worked out, in the type of the sums.
template <class T>
struct AdamWFactors {
  T gradient_scale;
  T beta1, one_minus_beta1;
  T beta2, one_minus_beta2;
  T root_correction;  // 1 / sqrt(1 - beta2^t)
  T eps;
  T step_size;  // lr / (1 - beta1^t)
  T decay;      // lr * weight_decay
};

// The factors that differ from column to column; the larger of these and the row's are used.
struct AdamWColumns {
  const float* root_correction;
  const float* step_size;
};

struct AdamWTable {
  void (*update)(const AdamWFactors<float>& factors, const float* gradient, float* master, float* m,
                 float* v, std::int64_t n);
  // Also copy = master, rounded.
  void (*update_and_copy)(const AdamWFactors<float>& factors, const float* gradient, float* master,
                          float* m, float* v, bfloat16* copy, std::int64_t n);
  // The same for consecutive elements of a row whose columns have factors of their own.
  void (*update_columns)(const AdamWFactors<float>& factors, const AdamWColumns& columns,
                         const float* gradient, float* master, float* m, float* v, std::int64_t n);
  void (*update_columns_and_copy)(const AdamWFactors<float>& factors, const AdamWColumns& columns,
                                  const float* gradient, float* master, float* m, float* v,
                                  bfloat16* copy, std::int64_t n);
};

namespace baseline {
extern const AdamWTable kAdamW;
}
namespace avx2 {
extern const AdamWTable kAdamW;
}
namespace avx512 {
extern const AdamWTable kAdamW;
}

}  // namespace gda::cpu
