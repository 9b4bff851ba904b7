#include "isa/rms_norm.h"

#include "isa/element.h"

namespace gda::cpu::GDA_ISA {
namespace {

float rho_of(float sum_of_squares, std::int64_t n, float eps) {
  return 1.0F / __builtin_sqrtf(sum_of_squares / static_cast<float>(n) + eps);
}

template <class T>
float forward(const T* x, const float* weight, std::int64_t n, float eps, T* y) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j) sum += load(x[j]) * load(x[j]);
  const float rho = rho_of(sum, n, eps);
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) store(y[j], weight[j] * (load(x[j]) * rho));
  return rho;
}

template <class T>
float add_forward(T* residual, const T* branch, const float* weight, std::int64_t n, float eps,
                  T* y) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j) {
    store(residual[j], load(residual[j]) + load(branch[j]));
    const float x = load(residual[j]);  // rounded: what the backward pass will see
    sum += x * x;
  }
  const float rho = rho_of(sum, n, eps);
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) store(y[j], weight[j] * (load(residual[j]) * rho));
  return rho;
}

template <class T>
void backward(const T* dy, const T* x, const float* weight, float rho, const T* residual_gradient,
              std::int64_t n, T* dx, float* dweight) {
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (std::int64_t j = 0; j < n; ++j) dot += weight[j] * load(dy[j]) * load(x[j]);
  // <u, normalised x> / n, so that no power of rho can overflow.
  const float mean = dot * rho / static_cast<float>(n);
  if (residual_gradient == nullptr) {
#pragma omp simd
    for (std::int64_t j = 0; j < n; ++j) {
      const float normalised = load(x[j]) * rho;
      const float gradient = load(dy[j]);
      dweight[j] += gradient * normalised;
      store(dx[j], rho * (weight[j] * gradient - normalised * mean));
    }
  } else {
#pragma omp simd
    for (std::int64_t j = 0; j < n; ++j) {
      const float normalised = load(x[j]) * rho;
      const float gradient = load(dy[j]);
      dweight[j] += gradient * normalised;
      store(dx[j], load(residual_gradient[j]) + rho * (weight[j] * gradient - normalised * mean));
    }
  }
}

}  // namespace

const RowTable<RmsNormRows> kRmsNorm{
    .f32 = {.forward = forward, .add_forward = add_forward, .backward = backward},
    .bf16 = {.forward = forward, .add_forward = add_forward, .backward = backward}};

}  // namespace gda::cpu::GDA_ISA
