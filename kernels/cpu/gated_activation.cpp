#include <array>
#include <cmath>

#include "isa.h"
#include "isa/gated_activation.h"
#include "ops/dispatch.h"
#include "ops/gated_activation_kernels.h"
#include "rows.h"

namespace gda::cpu {
namespace {

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

void reference_swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& out,
                              const ColumnMask& mask) {
  const MaskView<double> c(mask, gate.dim(1));
  for (std::int64_t i = 0; i < gate.dim(0); ++i) {
    for (std::int64_t j = 0; j < gate.dim(1); ++j) {
      const double x = row<double>(gate, i)[j];
      row<double>(out, i)[j] = c[j] * x * sigmoid(x) * row<double>(up, i)[j];
    }
  }
}

void reference_swiglu_backward(const ops::SwigluBackward& a) {
  const MaskView<double> c(a.mask, a.gate.dim(1));
  for (std::int64_t i = 0; i < a.gate.dim(0); ++i) {
    for (std::int64_t j = 0; j < a.gate.dim(1); ++j) {
      const double x = row<double>(a.gate, i)[j];
      const double s = sigmoid(x);
      const double gradient = c[j] * row<double>(a.dout, i)[j];
      const double value = row<double>(a.up, i)[j];
      row<double>(a.dup, i)[j] = gradient * x * s;
      row<double>(a.dgate, i)[j] = gradient * value * (s + x * s * (1 - s));
    }
  }
}

// r_k = (sum c x^2k / S + eps)^(-1/2) for k = 1, 2, 3; element 0 is unused.
std::array<double, 4> reference_norms(const double* x, const MaskView<double>& c, std::int64_t n,
                                      double eps) {
  std::array<double, 4> r{};
  for (int k = 1; k <= 3; ++k) {
    double sum = 0;
    for (std::int64_t j = 0; j < n; ++j) sum += c[j] * std::pow(x[j], 2 * k);
    r[static_cast<std::size_t>(k)] = 1 / std::sqrt(sum / c.sum + eps);
  }
  return r;
}

double reference_poly_norm(double x, const double* w, double b, const std::array<double, 4>& r) {
  return w[0] * x * x * x * r[3] + w[1] * x * x * r[2] + w[2] * x * r[1] + b;
}

void reference_poly_norm_forward(const ops::PolyNormForward& a) {
  const MaskView<double> c(a.mask, a.gate.dim(1));
  const double* w = a.weight.data<double>();
  const double b = *a.bias.data<double>();
  for (std::int64_t i = 0; i < a.gate.dim(0); ++i) {
    const double* x = row<double>(a.gate, i);
    const std::array<double, 4> r = reference_norms(x, c, a.gate.dim(1), a.eps);
    for (std::int64_t j = 0; j < a.gate.dim(1); ++j) {
      row<double>(a.out, i)[j] =
          c[j] * reference_poly_norm(x[j], w, b, r) * row<double>(a.up, i)[j];
    }
  }
}

void reference_poly_norm_backward(const ops::PolyNormBackward& a) {
  const MaskView<double> c(a.mask, a.gate.dim(1));
  const std::int64_t n = a.gate.dim(1);
  const double* w = a.weight.data<double>();
  const double b = *a.bias.data<double>();
  for (std::int64_t i = 0; i < a.gate.dim(0); ++i) {
    const double* x = row<double>(a.gate, i);
    const std::array<double, 4> r = reference_norms(x, c, n, a.eps);
    const auto g = [&](std::int64_t j) {
      return c[j] * row<double>(a.dout, i)[j] * row<double>(a.up, i)[j];
    };
    std::array<double, 4> sums{};  // sum g x^k
    for (int k = 0; k <= 3; ++k) {
      for (std::int64_t j = 0; j < n; ++j)
        sums[static_cast<std::size_t>(k)] += g(j) * std::pow(x[j], k);
    }
    if (a.dbias) *a.dbias.data<double>() += sums[0];
    for (std::size_t k = 1; k <= 3; ++k) {
      if (a.dweight) a.dweight.data<double>()[3 - k] += sums[k] * r[k];
    }
    for (std::int64_t j = 0; j < n; ++j) {
      double dx = 0;
      for (std::size_t k = 1; k <= 3; ++k) {
        const auto power = static_cast<double>(k);
        dx += w[3 - k] * power *
              (g(j) * std::pow(x[j], power - 1) * r[k] -
               c[j] * r[k] * r[k] * r[k] * std::pow(x[j], 2 * power - 1) * sums[k] / c.sum);
      }
      row<double>(a.dup, i)[j] =
          c[j] * row<double>(a.dout, i)[j] * reference_poly_norm(x[j], w, b, r);
      row<double>(a.dgate, i)[j] = dx;
    }
  }
}

template <class T>
const GatedActivationRows<T>& rows() {
  return choose(baseline::kGatedActivation, avx2::kGatedActivation, avx512::kGatedActivation)
      .of<T>();
}

PolyNormParameters parameters_of(const Tensor& weight, const Tensor& bias, double eps) {
  const float* w = weight.data<float>();
  return {
      .weight = {w[0], w[1], w[2]}, .bias = *bias.data<float>(), .eps = static_cast<float>(eps)};
}

template <class T>
void quick_poly_norm_backward(const Context& context, const ops::PolyNormBackward& a) {
  const Columns columns = columns_of(a.mask, a.gate.dim(1));
  const auto backward = rows<T>().poly_norm_backward;
  const PolyNormParameters parameters = parameters_of(a.weight, a.bias, a.eps);
  const std::int64_t count = a.gate.dim(0);
  const ArenaScope scratch(context.arena);
  // Sums of each row apart and added in order: the same for any number of threads.
  float* sums = context.arena.allocate(DType::f32, {count, 4}).data<float>();
#pragma omp parallel for schedule(static) if (a.gate.elements() > kParallelElements)
  for (std::int64_t i = 0; i < count; ++i) {
    PolyNormParameters of_row{};
    backward(row<T>(a.gate, i), row<T>(a.up, i), &parameters, row<T>(a.dout, i), columns,
             row<T>(a.dgate, i), row<T>(a.dup, i), &of_row);
    for (int k = 0; k < 3; ++k) sums[4 * i + k] = of_row.weight[k];
    sums[4 * i + 3] = of_row.bias;
  }
  std::array<double, 4> total{};
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::size_t k = 0; k < 4; ++k) total[k] += sums[4 * i + static_cast<std::int64_t>(k)];
  }
  for (std::size_t k = 0; k < 3; ++k) {
    if (a.dweight) a.dweight.data<float>()[k] += static_cast<float>(total[k]);
  }
  if (a.dbias) *a.dbias.data<float>() += static_cast<float>(total[3]);
}

}  // namespace

void swiglu_forward(const Context& /*context*/, const Tensor& gate, const Tensor& up,
                    const Tensor& out, const ColumnMask& mask) {
  ops::with_compute_type(gate.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_swiglu_forward(gate, up, out, mask);
    } else {
      const auto forward = rows<T>().swiglu_forward;
      const Columns columns = columns_of(mask, gate.dim(1));
#pragma omp parallel for schedule(static) if (gate.elements() > kParallelElements)
      for (std::int64_t i = 0; i < gate.dim(0); ++i) {
        forward(row<T>(gate, i), row<T>(up, i), columns, row<T>(out, i));
      }
    }
  });
}

void swiglu_backward(const Context& /*context*/, const ops::SwigluBackward& a) {
  ops::with_compute_type(a.gate.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_swiglu_backward(a);
    } else {
      const auto backward = rows<T>().swiglu_backward;
      const Columns columns = columns_of(a.mask, a.gate.dim(1));
#pragma omp parallel for schedule(static) if (a.gate.elements() > kParallelElements)
      for (std::int64_t i = 0; i < a.gate.dim(0); ++i) {
        backward(row<T>(a.gate, i), row<T>(a.up, i), row<T>(a.dout, i), columns, row<T>(a.dgate, i),
                 row<T>(a.dup, i));
      }
    }
  });
}

void poly_norm_forward(const Context& /*context*/, const ops::PolyNormForward& a) {
  ops::with_compute_type(a.gate.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_poly_norm_forward(a);
    } else {
      const auto forward = rows<T>().poly_norm_forward;
      const Columns columns = columns_of(a.mask, a.gate.dim(1));
      const PolyNormParameters parameters = parameters_of(a.weight, a.bias, a.eps);
#pragma omp parallel for schedule(static) if (a.gate.elements() > kParallelElements)
      for (std::int64_t i = 0; i < a.gate.dim(0); ++i) {
        forward(row<T>(a.gate, i), row<T>(a.up, i), &parameters, columns, row<T>(a.out, i));
      }
    }
  });
}

void poly_norm_backward(const Context& context, const ops::PolyNormBackward& a) {
  ops::with_compute_type(a.gate.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_poly_norm_backward(a);
    } else {
      quick_poly_norm_backward<T>(context, a);
    }
  });
}

}  // namespace gda::cpu
