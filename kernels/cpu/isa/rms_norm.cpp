#include "isa/rms_norm.h"

#include "isa/element.h"
#include "isa/mask.h"

namespace gda::cpu::GDA_ISA {
namespace {

template <class T, class Mask>
float normalise(const T* x, const float* weight, Mask mask, Columns columns, float eps, T* y) {
  const std::int64_t n = columns.count;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j) sum += mask[j] * load(x[j]) * load(x[j]);
  const float rho = 1.0F / __builtin_sqrtf(sum / columns.mask_sum + eps);
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) store(y[j], mask[j] * weight[j] * (load(x[j]) * rho));
  return rho;
}

template <class T>
float forward(const T* x, const float* weight, Columns columns, float eps, T* y) {
  return with_mask(columns, [&](auto mask) { return normalise(x, weight, mask, columns, eps, y); });
}

// mean: <u, x rho> / S with u = c * weight * dy; in this form no power of rho can overflow.
template <bool with_residual, class T, class Mask>
void write_gradients(const T* dy, const T* x, const float* weight, Mask mask, float rho, float mean,
                     const T* residual_gradient, std::int64_t n, T* dx, float* dweight) {
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) {
    const float normalised = load(x[j]) * rho;
    const float gradient = load(dy[j]);
    const float carried = with_residual ? load(residual_gradient[j]) : 0.0F;
    dweight[j] += mask[j] * gradient * normalised;
    store(dx[j], carried + mask[j] * rho * (weight[j] * gradient - normalised * mean));
  }
}

template <class T, class Mask>
void backward_masked(const T* dy, const T* x, const float* weight, Mask mask, float rho,
                     const T* residual_gradient, Columns columns, T* dx, float* dweight) {
  const std::int64_t n = columns.count;
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (std::int64_t j = 0; j < n; ++j) dot += mask[j] * weight[j] * load(dy[j]) * load(x[j]);
  const float mean = dot * rho / columns.mask_sum;
  if (residual_gradient == nullptr) {
    write_gradients<false>(dy, x, weight, mask, rho, mean, residual_gradient, n, dx, dweight);
  } else {
    write_gradients<true>(dy, x, weight, mask, rho, mean, residual_gradient, n, dx, dweight);
  }
}

template <class T>
void backward(const T* dy, const T* x, const float* weight, float rho, const T* residual_gradient,
              Columns columns, T* dx, float* dweight) {
  with_mask(columns, [&](auto mask) {
    backward_masked(dy, x, weight, mask, rho, residual_gradient, columns, dx, dweight);
  });
}

}  // namespace

const RowTable<RmsNormRows> kRmsNorm{.f32 = {.forward = forward, .backward = backward},
                                     .bf16 = {.forward = forward, .backward = backward}};

}  // namespace gda::cpu::GDA_ISA
