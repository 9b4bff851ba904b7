#include <cmath>

#include "isa.h"
#include "isa/rope.h"
#include "ops/dispatch.h"
#include "ops/rope_kernels.h"
#include "rows.h"

namespace gda::cpu {
namespace {

template <class T>
void fill(std::span<const double> frequencies, const Tensor& table) {
  const std::int64_t positions = table.dim(1);
  const auto half = static_cast<std::int64_t>(frequencies.size());
  T* cosine = table.data<T>();
  T* sine = cosine + positions * half;
#pragma omp parallel for schedule(static) if (table.elements() > kParallelElements)
  for (std::int64_t p = 0; p < positions; ++p) {
    for (std::int64_t j = 0; j < half; ++j) {
      const double angle = static_cast<double>(p) * frequencies[static_cast<std::size_t>(j)];
      cosine[p * half + j] = static_cast<T>(std::cos(angle));
      sine[p * half + j] = static_cast<T>(std::sin(angle));
    }
  }
}

void reference_rotate(const Tensor& x, const Tensor& position, const Tensor& table, double sign) {
  const std::int64_t half = table.dim(2);
  for (std::int64_t i = 0; i < x.dim(0); ++i) {
    const double* cosine = table.data<double>() + position.data<std::int32_t>()[i] * half;
    const double* sine = cosine + table.dim(1) * half;
    for (std::int64_t head = 0; head < x.dim(1); head += 2 * half) {
      double* v = row<double>(x, i) + head;
      for (std::int64_t j = 0; j < half; ++j) {
        const double a = v[j];
        const double b = v[j + half];
        v[j] = a * cosine[j] - sign * b * sine[j];
        v[j + half] = b * cosine[j] + sign * a * sine[j];
      }
    }
  }
}

template <class T, class Rotate>
void quick_rotate(const Tensor& x, const Tensor& position, const Tensor& table, Rotate rotate) {
  const std::int64_t half = table.dim(2);
  const std::int64_t heads = x.dim(1) / (2 * half);
#pragma omp parallel for schedule(static) if (x.elements() > kParallelElements)
  for (std::int64_t i = 0; i < x.dim(0); ++i) {
    const float* cosine = table.data<float>() + position.data<std::int32_t>()[i] * half;
    rotate(row<T>(x, i), heads, half, cosine, cosine + table.dim(1) * half);
  }
}

template <class T>
const RopeRows<T>& rows() {
  return choose(baseline::kRope, avx2::kRope, avx512::kRope).of<T>();
}

}  // namespace

void fill_rope_table(std::span<const double> frequencies, const Tensor& table) {
  if (table.dtype() == DType::f64) {
    fill<double>(frequencies, table);
  } else {
    fill<float>(frequencies, table);
  }
}

void rope_forward(const Context& /*context*/, const Tensor& x, const Tensor& position,
                  const Tensor& table) {
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_rotate(x, position, table, 1);
    } else {
      quick_rotate<T>(x, position, table, rows<T>().rotate);
    }
  });
}

void rope_backward(const Context& /*context*/, const Tensor& dx, const Tensor& position,
                   const Tensor& table) {
  ops::with_compute_type(dx.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_rotate(dx, position, table, -1);
    } else {
      quick_rotate<T>(dx, position, table, rows<T>().rotate_back);
    }
  });
}

}  // namespace gda::cpu
