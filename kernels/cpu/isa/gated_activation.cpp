#include "isa/gated_activation.h"

#include "isa/element.h"
#include "isa/mask.h"
#include "isa/vector_math.h"

namespace gda::cpu::GDA_ISA {
namespace {

inline __attribute__((always_inline)) float sigmoid(float x) {
  return 1.0F / (1.0F + vector_exp(-x));
}

template <class T, class Mask>
void swiglu_forward_masked(const T* gate, const T* up, Mask mask, std::int64_t n, T* out) {
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) {
    const float x = load(gate[j]);
    store(out[j], mask[j] * x * sigmoid(x) * load(up[j]));
  }
}

template <class T>
void swiglu_forward(const T* gate, const T* up, Columns columns, T* out) {
  with_mask(columns, [&](auto mask) { swiglu_forward_masked(gate, up, mask, columns.count, out); });
}

template <class T, class Mask>
void swiglu_backward_masked(const T* gate, const T* up, const T* dout, Mask mask, std::int64_t n,
                            T* dgate, T* dup) {
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) {
    const float x = load(gate[j]);
    const float s = sigmoid(x);
    const float gradient = mask[j] * load(dout[j]);
    const float value = load(up[j]);
    store(dup[j], gradient * x * s);
    store(dgate[j], gradient * value * s * (1.0F + x * (1.0F - s)));
  }
}

template <class T>
void swiglu_backward(const T* gate, const T* up, const T* dout, Columns columns, T* dgate, T* dup) {
  with_mask(columns, [&](auto mask) {
    swiglu_backward_masked(gate, up, dout, mask, columns.count, dgate, dup);
  });
}

// (sum c x^2k / S + eps)^(-1/2)
float norm_of(float sum, float count, float eps) {
  return 1.0F / __builtin_sqrtf(sum / count + eps);
}

// w0 r3 x^3 + w1 r2 x^2 + w2 r1 x + b as a polynomial in x.
struct Polynomial {
  float cubic, square, linear, constant;
  __attribute__((always_inline)) float at(float x) const {
    return ((cubic * x + square) * x + linear) * x + constant;
  }
};

// sum c x^2k and sum g x^k with g = c up dout.
struct PowerSums {
  float s2 = 0, s4 = 0, s6 = 0;
};
struct PolyNormMoments {
  PowerSums powers;
  float g0 = 0, g1 = 0, g2 = 0, g3 = 0;
};

template <class T, class Mask>
inline __attribute__((always_inline)) PowerSums power_sums(const T* gate, Mask mask,
                                                           std::int64_t n) {
  float s2 = 0;
  float s4 = 0;
  float s6 = 0;
#pragma omp simd reduction(+ : s2, s4, s6)
  for (std::int64_t j = 0; j < n; ++j) {
    const float x2 = load(gate[j]) * load(gate[j]);
    const float masked = mask[j] * x2;
    s2 += masked;
    s4 += masked * x2;
    s6 += masked * x2 * x2;
  }
  return {s2, s4, s6};
}

template <class T, class Mask>
inline __attribute__((always_inline)) PolyNormMoments moments(const T* gate, const T* up,
                                                              const T* dout, Mask mask,
                                                              std::int64_t n) {
  float s2 = 0;
  float s4 = 0;
  float s6 = 0;
  float g0 = 0;
  float g1 = 0;
  float g2 = 0;
  float g3 = 0;
#pragma omp simd reduction(+ : s2, s4, s6, g0, g1, g2, g3)
  for (std::int64_t j = 0; j < n; ++j) {
    const float x = load(gate[j]);
    const float g = mask[j] * load(dout[j]) * load(up[j]);
    const float x2 = x * x;
    const float masked = mask[j] * x2;
    s2 += masked;
    s4 += masked * x2;
    s6 += masked * x2 * x2;
    g0 += g;
    g1 += g * x;
    g2 += g * x2;
    g3 += g * (x2 * x);
  }
  return {{s2, s4, s6}, g0, g1, g2, g3};
}

template <class T>
void poly_norm_sums(const T* gate, const T* up, const T* dout, Columns columns, float* sums) {
  with_mask(columns, [&](auto mask) {
    if (dout == nullptr) {
      const PowerSums s = power_sums(gate, mask, columns.count);
      sums[0] = s.s2;
      sums[1] = s.s4;
      sums[2] = s.s6;
      return;
    }
    const PolyNormMoments s = moments(gate, up, dout, mask, columns.count);
    sums[0] = s.powers.s2;
    sums[1] = s.powers.s4;
    sums[2] = s.powers.s6;
    sums[3] = s.g1;
    sums[4] = s.g2;
    sums[5] = s.g3;
  });
}

template <class T, class Mask>
void poly_norm_forward_masked(const T* gate, const T* up, const PolyNormParameters* parameters,
                              Mask mask, Columns columns, const float* sums, T* out) {
  const std::int64_t n = columns.count;
  const PowerSums s =
      sums == nullptr ? power_sums(gate, mask, n) : PowerSums{sums[0], sums[1], sums[2]};
  const float* w = parameters->weight;
  const float count = columns.mask_sum;
  const float eps = parameters->eps;
  const Polynomial p{w[0] * norm_of(s.s6, count, eps), w[1] * norm_of(s.s4, count, eps),
                     w[2] * norm_of(s.s2, count, eps), parameters->bias};
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) {
    store(out[j], mask[j] * p.at(load(gate[j])) * load(up[j]));
  }
}

template <class T>
void poly_norm_forward(const T* gate, const T* up, const PolyNormParameters* parameters,
                       Columns columns, const float* sums, T* out) {
  with_mask(columns, [&](auto mask) {
    poly_norm_forward_masked(gate, up, parameters, mask, columns, sums, out);
  });
}

// dx_j = g_j P'(x_j) - c_j sum_k w_k k r_k^3 x_j^(2k-1) (sum_i g_i x_i^k) / S
template <class T, class Mask>
void poly_norm_backward_masked(const T* gate, const T* up, const PolyNormParameters* parameters,
                               const T* dout, Mask mask, Columns columns, const float* sums,
                               T* dgate, T* dup, PolyNormParameters* gradients) {
  const std::int64_t n = columns.count;
  const PolyNormMoments here = moments(gate, up, dout, mask, n);
  PolyNormMoments all = here;
  if (sums != nullptr) {
    all = {{sums[0], sums[1], sums[2]}, here.g0, sums[3], sums[4], sums[5]};
  }
  const float count = columns.mask_sum;
  const float r1 = norm_of(all.powers.s2, count, parameters->eps);
  const float r2 = norm_of(all.powers.s4, count, parameters->eps);
  const float r3 = norm_of(all.powers.s6, count, parameters->eps);
  *gradients = {.weight = {here.g3 * r3, here.g2 * r2, here.g1 * r1}, .bias = here.g0};

  const float* w = parameters->weight;
  const Polynomial p{w[0] * r3, w[1] * r2, w[2] * r1, parameters->bias};
  // r^3 times the sum, multiplied so that no intermediate leaves the range of f32: r * sum / S is
  // of the size of the gradient.
  const float c1 = w[2] * (r1 * all.g1 / count) * r1 * r1;
  const float c2 = 2.0F * w[1] * (r2 * all.g2 / count) * r2 * r2;
  const float c3 = 3.0F * w[0] * (r3 * all.g3 / count) * r3 * r3;
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) {
    const float x = load(gate[j]);
    const float x2 = x * x;
    const float gradient = mask[j] * load(dout[j]);
    const float slope = (3.0F * p.cubic * x + 2.0F * p.square) * x + p.linear;
    const float g = gradient * load(up[j]);
    store(dup[j], gradient * p.at(x));
    store(dgate[j], g * slope - mask[j] * ((c3 * x2 + c2) * x2 + c1) * x);
  }
}

template <class T>
void poly_norm_backward(const T* gate, const T* up, const PolyNormParameters* parameters,
                        const T* dout, Columns columns, const float* sums, T* dgate, T* dup,
                        PolyNormParameters* gradients) {
  with_mask(columns, [&](auto mask) {
    poly_norm_backward_masked(gate, up, parameters, dout, mask, columns, sums, dgate, dup,
                              gradients);
  });
}

}  // namespace

const RowTable<GatedActivationRows> kGatedActivation{
    .f32 = {.swiglu_forward = swiglu_forward,
            .swiglu_backward = swiglu_backward,
            .poly_norm_sums = poly_norm_sums,
            .poly_norm_forward = poly_norm_forward,
            .poly_norm_backward = poly_norm_backward},
    .bf16 = {.swiglu_forward = swiglu_forward,
             .swiglu_backward = swiglu_backward,
             .poly_norm_sums = poly_norm_sums,
             .poly_norm_forward = poly_norm_forward,
             .poly_norm_backward = poly_norm_backward}};

}  // namespace gda::cpu::GDA_ISA
