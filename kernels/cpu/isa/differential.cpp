#include "isa/differential.h"

#include "isa/element.h"
#include "isa/vector_math.h"

namespace gda::cpu::GDA_ISA {
namespace {

template <class T>
void forward(const DifferentialGroup* group, const T* attended, T* y, float* rho) {
  const std::int64_t n = group->n;
  const float lambda = group->lambda;
  const float* subln = group->subln;
  const T* noise = attended + group->ratio * n;
  for (std::int64_t p = 0; p < group->ratio; ++p) {
    const T* signal = attended + p * n;
    T* out = y + p * n;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t j = 0; j < n; ++j) {
      const float difference = load(signal[j]) - lambda * load(noise[j]);
      sum += difference * difference;
    }
    rho[p] = 1.0F / __builtin_sqrtf(sum / static_cast<float>(n) + group->eps);
    const float factor = group->scale * rho[p];
#pragma omp simd
    for (std::int64_t j = 0; j < n; ++j) {
      store(out[j], subln[j] * (factor * (load(signal[j]) - lambda * load(noise[j]))));
    }
  }
}

// dD of one signal head: see rms_norm_backward in gda/ops/rms_norm.h, with u = scale * subln * dy.
template <class T>
void signal_backward(const DifferentialGroup* group, const T* signal, const T* noise, float rho,
                     const T* dy, T* dsignal, float* dsubln, float* dsum) {
  const std::int64_t n = group->n;
  const float lambda = group->lambda;
  const float* subln = group->subln;
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (std::int64_t j = 0; j < n; ++j) {
    dot += subln[j] * load(dy[j]) * (load(signal[j]) - lambda * load(noise[j]));
  }
  const float mean = dot * rho / static_cast<float>(n);
  const float scale = group->scale;
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) {
    const float normalised = (load(signal[j]) - lambda * load(noise[j])) * rho;
    const float gradient = scale * load(dy[j]);
    const float difference = rho * (subln[j] * gradient - normalised * (scale * mean));
    dsubln[j] += gradient * normalised;
    dsum[j] += difference;
    store(dsignal[j], difference);
  }
}

template <class T>
float dot_of(const T* a, const T* b, std::int64_t n) {
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (std::int64_t j = 0; j < n; ++j) dot += load(a[j]) * load(b[j]);
  return dot;
}

template <class T>
float backward(const DifferentialGroup* group, const T* attended, const float* rho, const T* dy,
               T* dattended, float* dsubln, float* scratch, float* delta) {
  const std::int64_t n = group->n;
  const T* noise = attended + group->ratio * n;
  T* dnoise = dattended + group->ratio * n;
  for (std::int64_t j = 0; j < n; ++j) scratch[j] = 0;
  for (std::int64_t p = 0; p < group->ratio; ++p) {
    signal_backward(group, attended + p * n, noise, rho[p], dy + p * n, dattended + p * n, dsubln,
                    scratch);
  }
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (std::int64_t j = 0; j < n; ++j) {
    dot += scratch[j] * load(noise[j]);
    store(dnoise[j], -group->lambda * scratch[j]);
  }
  for (std::int64_t p = 0; delta != nullptr && p <= group->ratio; ++p) {
    delta[p] = dot_of(dattended + p * n, attended + p * n, n);
  }
  return dot;
}

inline __attribute__((always_inline)) float sigmoid(float x) {
  return 1.0F / (1.0F + vector_exp(-x));
}

template <class T>
void gated_forward(const T* attended, const T* gate, std::int64_t n, T* out) {
  const float s = sigmoid(load(*gate));
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) {
    store(out[j], load(attended[j]) - s * load(attended[n + j]));
  }
}

template <class T>
void gated_backward(const T* attended, const T* gate, const T* dout, std::int64_t n, T* dattended,
                    T* dgate) {
  const float s = sigmoid(load(*gate));
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (std::int64_t j = 0; j < n; ++j) {
    dot += load(dout[j]) * load(attended[n + j]);
    store(dattended[j], load(dout[j]));
    store(dattended[n + j], -s * load(dout[j]));
  }
  store(*dgate, -s * (1.0F - s) * dot);
}

}  // namespace

const RowTable<DifferentialRows> kDifferential{.f32 = {.forward = forward,
                                                       .backward = backward,
                                                       .gated_forward = gated_forward,
                                                       .gated_backward = gated_backward},
                                               .bf16 = {.forward = forward,
                                                        .backward = backward,
                                                        .gated_forward = gated_forward,
                                                        .gated_backward = gated_backward}};

}  // namespace gda::cpu::GDA_ISA
