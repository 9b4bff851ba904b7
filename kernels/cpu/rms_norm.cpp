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
                       const Tensor& rho) {
  const std::int64_t n = x.dim(1);
  const double* w = weight.data<double>();
  for (std::int64_t i = 0; i < x.dim(0); ++i) {
    const double* in = row<double>(x, i);
    double sum = 0;
    for (std::int64_t j = 0; j < n; ++j) sum += in[j] * in[j];
    const double r = 1 / std::sqrt(sum / static_cast<double>(n) + eps);
    for (std::int64_t j = 0; j < n; ++j) row<double>(y, i)[j] = w[j] * in[j] * r;
    rho.data<double>()[i] = r;
  }
}

void reference_add(const Tensor& residual, const Tensor& branch) {
  for (std::int64_t i = 0; i < residual.elements(); ++i) {
    residual.data<double>()[i] += branch.data<double>()[i];
  }
}

void reference_backward(const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& rho,
                        const Tensor& residual_gradient, const Tensor& dx, const Tensor& dweight) {
  const std::int64_t n = x.dim(1);
  const double* w = weight.data<double>();
  for (std::int64_t i = 0; i < x.dim(0); ++i) {
    const double* in = row<double>(x, i);
    const double* gradient = row<double>(dy, i);
    const double r = rho.data<double>()[i];
    double dot = 0;
    for (std::int64_t j = 0; j < n; ++j) dot += w[j] * gradient[j] * in[j];
    for (std::int64_t j = 0; j < n; ++j) {
      const double carried = residual_gradient ? row<double>(residual_gradient, i)[j] : 0.0;
      row<double>(dx, i)[j] =
          carried + r * w[j] * gradient[j] - r * r * r * in[j] * dot / static_cast<double>(n);
      dweight.data<double>()[j] += gradient[j] * in[j] * r;
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
                    const Tensor& dweight) {
  const auto backward = rows<T>().backward;
  const std::int64_t n = x.dim(1);
  const RowBlocks blocks(x.dim(0));
  const ArenaScope scratch(context.arena);
  float* partial = context.arena.allocate(DType::f32, {blocks.count(), n}).data<float>();
#pragma omp parallel for schedule(static) if (x.elements() > kParallelElements)
  for (std::int64_t b = 0; b < blocks.count(); ++b) {
    float* sums = partial + b * n;
    std::fill_n(sums, n, 0.0F);
    for (std::int64_t i = blocks.begin(b); i < blocks.end(b); ++i) {
      backward(row<T>(dy, i), row<T>(x, i), weight.data<float>(), rho.data<float>()[i],
               residual_gradient ? row<T>(residual_gradient, i) : nullptr, n, row<T>(dx, i), sums);
    }
  }
  add_blocks(partial, blocks.count(), n, dweight.data<float>());
}

}  // namespace

void rms_norm_forward(const Context& /*context*/, const Tensor& x, const Tensor& weight, double eps,
                      const Tensor& y, const Tensor& rho) {
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_forward(x, weight, eps, y, rho);
    } else {
      const auto forward = rows<T>().forward;
#pragma omp parallel for schedule(static) if (x.elements() > kParallelElements)
      for (std::int64_t i = 0; i < x.dim(0); ++i) {
        rho.data<float>()[i] = forward(row<T>(x, i), weight.data<float>(), x.dim(1),
                                       static_cast<float>(eps), row<T>(y, i));
      }
    }
  });
}

void add_rms_norm_forward(const Context& /*context*/, const Tensor& residual, const Tensor& branch,
                          const Tensor& weight, double eps, const Tensor& y, const Tensor& rho) {
  ops::with_compute_type(residual.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_add(residual, branch);
      reference_forward(residual, weight, eps, y, rho);
    } else {
      const auto add_forward = rows<T>().add_forward;
#pragma omp parallel for schedule(static) if (residual.elements() > kParallelElements)
      for (std::int64_t i = 0; i < residual.dim(0); ++i) {
        rho.data<float>()[i] =
            add_forward(row<T>(residual, i), row<T>(branch, i), weight.data<float>(),
                        residual.dim(1), static_cast<float>(eps), row<T>(y, i));
      }
    }
  });
}

void rms_norm_backward(const Context& context, const Tensor& dy, const Tensor& x,
                       const Tensor& weight, const Tensor& rho, const Tensor& residual_gradient,
                       const Tensor& dx, const Tensor& dweight) {
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_backward(dy, x, weight, rho, residual_gradient, dx, dweight);
    } else {
      quick_backward<T>(context, dy, x, weight, rho, residual_gradient, dx, dweight);
    }
  });
}

}  // namespace gda::cpu
