#include "isa/adamw.h"

#include "isa/element.h"

namespace gda::cpu::GDA_ISA {
namespace {

// One parameter; returns its value after the update.
inline __attribute__((always_inline)) float update_one(const AdamWFactors<float>& f,
                                                       float root_correction, float step_size,
                                                       float gradient, float master, float& m,
                                                       float& v) {
  const float g = f.gradient_scale * gradient;
  m = f.beta1 * m + f.one_minus_beta1 * g;
  v = f.beta2 * v + f.one_minus_beta2 * g * g;
  const float direction = m / (__builtin_sqrtf(v) * root_correction + f.eps);
  return master - (step_size * direction + f.decay * master);
}

void update(const AdamWFactors<float>& factors, const float* __restrict gradient,
            float* __restrict master, float* __restrict m, float* __restrict v, std::int64_t n) {
  const AdamWFactors<float> f = factors;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    master[i] = update_one(f, f.root_correction, f.step_size, gradient[i], master[i], m[i], v[i]);
  }
}

void update_and_copy(const AdamWFactors<float>& factors, const float* __restrict gradient,
                     float* __restrict master, float* __restrict m, float* __restrict v,
                     bfloat16* __restrict copy, std::int64_t n) {
  const AdamWFactors<float> f = factors;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    master[i] = update_one(f, f.root_correction, f.step_size, gradient[i], master[i], m[i], v[i]);
    store(copy[i], master[i]);
  }
}

inline __attribute__((always_inline)) float larger(float a, float b) {
  return a > b ? a : b;
}

void update_columns(const AdamWFactors<float>& factors, const AdamWColumns& columns,
                    const float* __restrict gradient, float* __restrict master, float* __restrict m,
                    float* __restrict v, std::int64_t n) {
  const AdamWFactors<float> f = factors;
  const AdamWColumns c = columns;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    master[i] = update_one(f, larger(f.root_correction, c.root_correction[i]),
                           larger(f.step_size, c.step_size[i]), gradient[i], master[i], m[i], v[i]);
  }
}

void update_columns_and_copy(const AdamWFactors<float>& factors, const AdamWColumns& columns,
                             const float* __restrict gradient, float* __restrict master,
                             float* __restrict m, float* __restrict v, bfloat16* __restrict copy,
                             std::int64_t n) {
  const AdamWFactors<float> f = factors;
  const AdamWColumns c = columns;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    master[i] = update_one(f, larger(f.root_correction, c.root_correction[i]),
                           larger(f.step_size, c.step_size[i]), gradient[i], master[i], m[i], v[i]);
    store(copy[i], master[i]);
  }
}

}  // namespace

const AdamWTable kAdamW{update, update_and_copy, update_columns, update_columns_and_copy};

}  // namespace gda::cpu::GDA_ISA
