#include <algorithm>
#include <cmath>

#include "isa.h"
#include "isa/rms_norm.h"
#include "ops/dispatch.h"
#include "ops/rms_norm_kernels.h"
#include "rows.h"

namespace gda::cpu {
namespace {

void reference_forward(const ops::RmsNormForward& a) {
  const MaskView<double> c(a.mask, a.x.dim(1));
  const std::int64_t n = a.x.dim(1);
  const double* w = a.weight.data<double>();
  for (std::int64_t i = 0; i < a.x.dim(0); ++i) {
    const double* in = row<double>(a.x, i);
    double sum = 0;
    for (std::int64_t j = 0; j < n; ++j) sum += c[j] * in[j] * in[j];
    const double r = 1 / std::sqrt(sum / c.sum + a.eps);
    for (std::int64_t j = 0; j < n; ++j) row<double>(a.y, i)[j] = c[j] * w[j] * in[j] * r;
    a.rho.data<double>()[i] = r;
  }
}

void reference_backward(const ops::RmsNormBackward& a) {
  const MaskView<double> c(a.mask, a.x.dim(1));
  const std::int64_t n = a.x.dim(1);
  const double* w = a.weight.data<double>();
  for (std::int64_t i = 0; i < a.x.dim(0); ++i) {
    const double* in = row<double>(a.x, i);
    const double* gradient = row<double>(a.dy, i);
    const double r = a.rho.data<double>()[i];
    double dot = 0;
    for (std::int64_t j = 0; j < n; ++j) dot += c[j] * w[j] * gradient[j] * in[j];
    for (std::int64_t j = 0; j < n; ++j) {
      const double carried = a.residual_gradient ? row<double>(a.residual_gradient, i)[j] : 0.0;
      row<double>(a.dx, i)[j] =
          carried + c[j] * r * w[j] * gradient[j] - c[j] * r * r * r * in[j] * dot / c.sum;
      if (a.dweight) a.dweight.data<double>()[j] += c[j] * gradient[j] * in[j] * r;
    }
  }
}

template <class T>
const RmsNormRows<T>& rows() {
  return choose(baseline::kRmsNorm, avx2::kRmsNorm, avx512::kRmsNorm).of<T>();
}

template <class T>
void quick_backward(const Context& context, const ops::RmsNormBackward& a) {
  const auto backward = rows<T>().backward;
  const std::int64_t n = a.x.dim(1);
  const Columns columns = columns_of(a.mask, n);
  const RowBlocks blocks(a.x.dim(0));
  const ArenaScope scratch(context.arena);
  float* partial = context.arena.allocate(DType::f32, {blocks.count(), n}).data<float>();
#pragma omp parallel for schedule(static) if (a.x.elements() > kParallelElements)
  for (std::int64_t b = 0; b < blocks.count(); ++b) {
    float* sums = partial + b * n;
    std::fill_n(sums, n, 0.0F);
    for (std::int64_t i = blocks.begin(b); i < blocks.end(b); ++i) {
      backward(row<T>(a.dy, i), row<T>(a.x, i), a.weight.data<float>(), a.rho.data<float>()[i],
               a.residual_gradient ? row<T>(a.residual_gradient, i) : nullptr, columns,
               row<T>(a.dx, i), sums);
    }
  }
  if (a.dweight) add_blocks(partial, blocks.count(), n, a.dweight.data<float>());
}

}  // namespace

void rms_norm_forward(const Context& /*context*/, const ops::RmsNormForward& a) {
  ops::with_compute_type(a.x.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_forward(a);
    } else {
      const auto forward = rows<T>().forward;
      const Columns columns = columns_of(a.mask, a.x.dim(1));
#pragma omp parallel for schedule(static) if (a.x.elements() > kParallelElements)
      for (std::int64_t i = 0; i < a.x.dim(0); ++i) {
        a.rho.data<float>()[i] = forward(row<T>(a.x, i), a.weight.data<float>(), columns,
                                         static_cast<float>(a.eps), row<T>(a.y, i));
      }
    }
  });
}

void rms_norm_backward(const Context& context, const ops::RmsNormBackward& a) {
  ops::with_compute_type(a.x.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_backward(a);
    } else {
      quick_backward<T>(context, a);
    }
  });
}

}  // namespace gda::cpu
