#include <algorithm>
#include <cmath>

#include "isa.h"
#include "isa/rms_norm.h"
#include "ops/dispatch.h"
#include "ops/rms_norm_kernels.h"
#include "rows.h"

namespace gda::cpu {
namespace {

void reference_forward(const Tensor& x, const Tensor& weight, double eps, const Tensor& y,
                       const Tensor& rho, const ColumnMask& mask) {
  const MaskView<double> c(mask, x.dim(1));
  const std::int64_t n = x.dim(1);
  const double* w = weight.data<double>();
  for (std::int64_t i = 0; i < x.dim(0); ++i) {
    const double* in = row<double>(x, i);
    double sum = 0;
    for (std::int64_t j = 0; j < n; ++j) sum += c[j] * in[j] * in[j];
    const double r = 1 / std::sqrt(sum / c.sum + eps);
    for (std::int64_t j = 0; j < n; ++j) row<double>(y, i)[j] = c[j] * w[j] * in[j] * r;
    rho.data<double>()[i] = r;
  }
}

void reference_backward(const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& rho,
                        const Tensor& residual_gradient, const Tensor& dx, const Tensor& dweight,
                        const ColumnMask& mask) {
  const MaskView<double> c(mask, x.dim(1));
  const std::int64_t n = x.dim(1);
  const double* w = weight.data<double>();
  for (std::int64_t i = 0; i < x.dim(0); ++i) {
    const double* in = row<double>(x, i);
    const double* gradient = row<double>(dy, i);
    const double r = rho.data<double>()[i];
    double dot = 0;
    for (std::int64_t j = 0; j < n; ++j) dot += c[j] * w[j] * gradient[j] * in[j];
    for (std::int64_t j = 0; j < n; ++j) {
      const double carried = residual_gradient ? row<double>(residual_gradient, i)[j] : 0.0;
      row<double>(dx, i)[j] =
          carried + c[j] * r * w[j] * gradient[j] - c[j] * r * r * r * in[j] * dot / c.sum;
      if (dweight) dweight.data<double>()[j] += c[j] * gradient[j] * in[j] * r;
    }
  }
}

template <class T>
const RmsNormRows<T>& rows() {
  return choose(baseline::kRmsNorm, avx2::kRmsNorm, avx512::kRmsNorm).of<T>();
}

template <class T>
void quick_backward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& weight,
                    const Tensor& rho, const Tensor& residual_gradient, const Tensor& dx,
                    const Tensor& dweight, const ColumnMask& mask) {
  const auto backward = rows<T>().backward;
  const std::int64_t n = x.dim(1);
  const Columns columns = columns_of(mask, n);
  const RowBlocks blocks(x.dim(0));
  const ArenaScope scratch(context.arena);
  float* partial = context.arena.allocate(DType::f32, {blocks.count(), n}).data<float>();
#pragma omp parallel for schedule(static) if (x.elements() > kParallelElements)
  for (std::int64_t b = 0; b < blocks.count(); ++b) {
    float* sums = partial + b * n;
    std::fill_n(sums, n, 0.0F);
    for (std::int64_t i = blocks.begin(b); i < blocks.end(b); ++i) {
      backward(row<T>(dy, i), row<T>(x, i), weight.data<float>(), rho.data<float>()[i],
               residual_gradient ? row<T>(residual_gradient, i) : nullptr, columns, row<T>(dx, i),
               sums);
    }
  }
  if (dweight) add_blocks(partial, blocks.count(), n, dweight.data<float>());
}

}  // namespace

void rms_norm_forward(const Context& /*context*/, const Tensor& x, const Tensor& weight, double eps,
                      const Tensor& y, const Tensor& rho, const ColumnMask& mask) {
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_forward(x, weight, eps, y, rho, mask);
    } else {
      const auto forward = rows<T>().forward;
      const Columns columns = columns_of(mask, x.dim(1));
#pragma omp parallel for schedule(static) if (x.elements() > kParallelElements)
      for (std::int64_t i = 0; i < x.dim(0); ++i) {
        rho.data<float>()[i] = forward(row<T>(x, i), weight.data<float>(), columns,
                                       static_cast<float>(eps), row<T>(y, i));
      }
    }
  });
}

void rms_norm_backward(const Context& context, const Tensor& dy, const Tensor& x,
                       const Tensor& weight, const Tensor& rho, const Tensor& residual_gradient,
                       const Tensor& dx, const Tensor& dweight, const ColumnMask& mask) {
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_backward(dy, x, weight, rho, residual_gradient, dx, dweight, mask);
    } else {
      quick_backward<T>(context, dy, x, weight, rho, residual_gradient, dx, dweight, mask);
    }
  });
}

}  // namespace gda::cpu
