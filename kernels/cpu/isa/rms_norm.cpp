#include "isa/rms_norm.h"

#include "isa/element.h"

namespace gda::cpu::GDA_ISA {
namespace {

// Not inlined: add_forward has to give the same bits, so that recomputing y from the stored sum
// changes nothing.
template <class T>
__attribute__((noinline)) float forward(const T* x, const float* weight, std::int64_t n, float eps,
                                        T* y) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j) sum += load(x[j]) * load(x[j]);
  const float rho = 1.0F / __builtin_sqrtf(sum / static_cast<float>(n) + eps);
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) store(y[j], weight[j] * (load(x[j]) * rho));
  return rho;
}

template <class T>
float add_forward(T* residual, const T* branch, const float* weight, std::int64_t n, float eps,
                  T* y) {
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) store(residual[j], load(residual[j]) + load(branch[j]));
  return forward(residual, weight, n, eps, y);
}

// mean: <u, x rho> / n with u = weight * dy; in this form no power of rho can overflow.
template <bool with_residual, class T>
void write_gradients(const T* dy, const T* x, const float* weight, float rho, float mean,
                     const T* residual_gradient, std::int64_t n, T* dx, float* dweight) {
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) {
    const float normalised = load(x[j]) * rho;
    const float gradient = load(dy[j]);
    const float carried = with_residual ? load(residual_gradient[j]) : 0.0F;
    dweight[j] += gradient * normalised;
    store(dx[j], carried + rho * (weight[j] * gradient - normalised * mean));
  }
}

template <class T>
void backward(const T* dy, const T* x, const float* weight, float rho, const T* residual_gradient,
              std::int64_t n, T* dx, float* dweight) {
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (std::int64_t j = 0; j < n; ++j) dot += weight[j] * load(dy[j]) * load(x[j]);
  const float mean = dot * rho / static_cast<float>(n);
  if (residual_gradient == nullptr) {
    write_gradients<false>(dy, x, weight, rho, mean, residual_gradient, n, dx, dweight);
  } else {
    write_gradients<true>(dy, x, weight, rho, mean, residual_gradient, n, dx, dweight);
  }
}

}  // namespace

const RowTable<RmsNormRows> kRmsNorm{
    .f32 = {.forward = forward, .add_forward = add_forward, .backward = backward},
    .bf16 = {.forward = forward, .add_forward = add_forward, .backward = backward}};

}  // namespace gda::cpu::GDA_ISA
