#include <algorithm>
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

// sum c x^2k, k = 1, 2, 3.
std::array<double, 3> reference_power_sums(const double* x, const MaskView<double>& c,
                                           std::int64_t n) {
  std::array<double, 3> sums{};
  for (int k = 1; k <= 3; ++k) {
    double sum = 0;
    for (std::int64_t j = 0; j < n; ++j) sum += c[j] * std::pow(x[j], 2 * k);
    sums[static_cast<std::size_t>(k) - 1] = sum;
  }
  return sums;
}

// sum g x^k, k = 0 to 3, with g = c up dout.
std::array<double, 4> reference_moments(const double* x, const double* up, const double* dout,
                                        const MaskView<double>& c, std::int64_t n) {
  std::array<double, 4> sums{};
  for (int k = 0; k <= 3; ++k) {
    for (std::int64_t j = 0; j < n; ++j) {
      sums[static_cast<std::size_t>(k)] += c[j] * dout[j] * up[j] * std::pow(x[j], k);
    }
  }
  return sums;
}

void reference_poly_norm_sums(const ops::PolyNormSums& a) {
  const MaskView<double> c(a.mask, a.gate.dim(1));
  const std::int64_t n = a.gate.dim(1);
  for (std::int64_t i = 0; i < a.gate.dim(0); ++i) {
    const double* x = row<double>(a.gate, i);
    double* sums = row<double>(a.sums, i);
    const std::array<double, 3> powers = reference_power_sums(x, c, n);
    std::copy(powers.begin(), powers.end(), sums);
    if (!a.dout) continue;
    const std::array<double, 4> g =
        reference_moments(x, row<double>(a.up, i), row<double>(a.dout, i), c, n);
    std::copy(g.begin() + 1, g.end(), sums + 3);
  }
}

// r_k = (sum c x^2k / S + eps)^(-1/2) for k = 1, 2, 3; element 0 is unused.
std::array<double, 4> reference_norms(const std::array<double, 3>& sums, double count, double eps) {
  std::array<double, 4> r{};
  for (std::size_t k = 1; k <= 3; ++k) r[k] = 1 / std::sqrt(sums[k - 1] / count + eps);
  return r;
}

// The sums over all units: those that all places have put together, or those of the row.
template <class Arguments>
std::array<double, 3> reference_all_power_sums(const Arguments& a, const MaskView<double>& c,
                                               std::int64_t i) {
  if (!a.sums) return reference_power_sums(row<double>(a.gate, i), c, a.gate.dim(1));
  const double* sums = row<double>(a.sums, i);
  return {sums[0], sums[1], sums[2]};
}

// The units that a mean is over.
template <class Arguments>
std::int64_t all_units(const Arguments& a) {
  return a.sums ? a.total : a.gate.dim(1);
}

double reference_poly_norm(double x, const double* w, double b, const std::array<double, 4>& r) {
  return w[0] * x * x * x * r[3] + w[1] * x * x * r[2] + w[2] * x * r[1] + b;
}

void reference_poly_norm_forward(const ops::PolyNormForward& a) {
  const MaskView<double> c(a.mask, all_units(a));
  const double* w = a.weight.data<double>();
  const double b = *a.bias.data<double>();
  for (std::int64_t i = 0; i < a.gate.dim(0); ++i) {
    const double* x = row<double>(a.gate, i);
    const std::array<double, 4> r =
        reference_norms(reference_all_power_sums(a, c, i), c.sum, a.eps);
    for (std::int64_t j = 0; j < a.gate.dim(1); ++j) {
      row<double>(a.out, i)[j] =
          c[j] * reference_poly_norm(x[j], w, b, r) * row<double>(a.up, i)[j];
    }
  }
}

void reference_poly_norm_backward(const ops::PolyNormBackward& a) {
  const MaskView<double> c(a.mask, all_units(a));
  const std::int64_t n = a.gate.dim(1);
  const double* w = a.weight.data<double>();
  const double b = *a.bias.data<double>();
  for (std::int64_t i = 0; i < a.gate.dim(0); ++i) {
    const double* x = row<double>(a.gate, i);
    const double* up = row<double>(a.up, i);
    const double* dout = row<double>(a.dout, i);
    const std::array<double, 4> r =
        reference_norms(reference_all_power_sums(a, c, i), c.sum, a.eps);
    const std::array<double, 4> here = reference_moments(x, up, dout, c, n);
    std::array<double, 4> all = here;
    if (a.sums) std::copy_n(row<double>(a.sums, i) + 3, 3, all.begin() + 1);
    if (a.dbias) *a.dbias.data<double>() += here[0];
    for (std::size_t k = 1; k <= 3; ++k) {
      if (a.dweight) a.dweight.data<double>()[3 - k] += here[k] * r[k];
    }
    for (std::int64_t j = 0; j < n; ++j) {
      const double g = c[j] * dout[j] * up[j];
      double dx = 0;
      for (std::size_t k = 1; k <= 3; ++k) {
        const auto power = static_cast<double>(k);
        dx += w[3 - k] * power *
              (g * std::pow(x[j], power - 1) * r[k] -
               c[j] * r[k] * r[k] * r[k] * std::pow(x[j], 2 * power - 1) * all[k] / c.sum);
      }
      row<double>(a.dup, i)[j] = c[j] * dout[j] * reference_poly_norm(x[j], w, b, r);
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

const float* sums_of_row(const Tensor& sums, std::int64_t i) {
  return sums ? row<float>(sums, i) : nullptr;
}

template <class T>
void quick_poly_norm_backward(const Context& context, const ops::PolyNormBackward& a) {
  const Columns columns = columns_of(a.mask, a.gate.dim(1), all_units(a));
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
             sums_of_row(a.sums, i), row<T>(a.dgate, i), row<T>(a.dup, i), &of_row);
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

void poly_norm_sums(const Context& /*context*/, const ops::PolyNormSums& a) {
  ops::with_compute_type(a.gate.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_poly_norm_sums(a);
    } else {
      const auto sums = rows<T>().poly_norm_sums;
      const Columns columns = columns_of(a.mask, a.gate.dim(1));
      const auto row_or_null = [](const Tensor& tensor, std::int64_t i) {
        return tensor ? row<T>(tensor, i) : nullptr;
      };
#pragma omp parallel for schedule(static) if (a.gate.elements() > kParallelElements)
      for (std::int64_t i = 0; i < a.gate.dim(0); ++i) {
        sums(row<T>(a.gate, i), row_or_null(a.up, i), row_or_null(a.dout, i), columns,
             row<float>(a.sums, i));
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
      const Columns columns = columns_of(a.mask, a.gate.dim(1), all_units(a));
      const PolyNormParameters parameters = parameters_of(a.weight, a.bias, a.eps);
#pragma omp parallel for schedule(static) if (a.gate.elements() > kParallelElements)
      for (std::int64_t i = 0; i < a.gate.dim(0); ++i) {
        forward(row<T>(a.gate, i), row<T>(a.up, i), &parameters, columns, sums_of_row(a.sums, i),
                row<T>(a.out, i));
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
