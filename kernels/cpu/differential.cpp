#include <algorithm>
#include <cmath>

#include "isa.h"
#include "isa/differential.h"
#include "ops/differential_kernels.h"
#include "ops/dispatch.h"
#include "rows.h"

namespace gda::cpu {
namespace {

// lambda's exponentials, from dot products in f64: the vectors are short, and an error here moves
// every head of the layer.
template <class V>
double exp_dot(const Tensor& a, const Tensor& b) {
  double dot = 0;
  for (std::int64_t j = 0; j < a.elements(); ++j) {
    dot += static_cast<double>(a.data<V>()[j]) * static_cast<double>(b.data<V>()[j]);
  }
  return std::exp(dot);
}

// The gradients of one pair of vectors: da += factor * b, db += factor * a.
template <class V>
void add_pair(double factor, const Tensor& a, const Tensor& b, const Tensor& da, const Tensor& db) {
  for (std::int64_t j = 0; j < a.elements(); ++j) {
    if (da) da.data<V>()[j] += static_cast<V>(factor * static_cast<double>(b.data<V>()[j]));
    if (db) db.data<V>()[j] += static_cast<V>(factor * static_cast<double>(a.data<V>()[j]));
  }
}

// Calls f with the accumulate type's std::type_identity.
template <class F>
void with_accumulate_type(DType dtype, F&& f) {
  if (dtype == DType::f64) {
    f(std::type_identity<double>{});
  } else {
    f(std::type_identity<float>{});
  }
}

void reference_forward(const ops::DifferentialForward& a) {
  const DifferentialShape& shape = a.shape;
  const std::int64_t n = shape.value_dim;
  const double l = *a.lambda.data<double>();
  for (std::int64_t i = 0; i < a.attended.dim(0); ++i) {
    for (std::int64_t h = 0; h < shape.signal_heads(); ++h) {
      const std::int64_t group = h / shape.ratio;
      const double* signal = row<double>(a.attended, i) + (h + group) * n;
      const double* noise =
          row<double>(a.attended, i) + (group * (shape.ratio + 1) + shape.ratio) * n;
      double sum = 0;
      for (std::int64_t j = 0; j < n; ++j) sum += std::pow(signal[j] - l * noise[j], 2);
      const double r = 1 / std::sqrt(sum / static_cast<double>(n) + shape.eps);
      for (std::int64_t j = 0; j < n; ++j) {
        row<double>(a.y, i)[h * n + j] =
            (1 - shape.lambda_init) * a.subln.data<double>()[j] * (signal[j] - l * noise[j]) * r;
      }
      row<double>(a.rho, i)[h] = r;
    }
  }
}

void reference_backward(const ops::DifferentialBackward& a) {
  const DifferentialShape& shape = a.shape;
  const std::int64_t n = shape.value_dim;
  const double l = *a.lambda.data<double>();
  const double* w = a.subln.data<double>();
  std::fill_n(a.dattended.data<double>(), a.dattended.elements(), 0.0);
  *a.dlambda.data<double>() = 0;
  for (std::int64_t i = 0; i < a.attended.dim(0); ++i) {
    for (std::int64_t h = 0; h < shape.signal_heads(); ++h) {
      const std::int64_t group = h / shape.ratio;
      const std::int64_t signal_at = (h + group) * n;
      const std::int64_t noise_at = (group * (shape.ratio + 1) + shape.ratio) * n;
      const double* signal = row<double>(a.attended, i) + signal_at;
      const double* noise = row<double>(a.attended, i) + noise_at;
      const double* dout = row<double>(a.dy, i) + h * n;
      const double r = row<double>(a.rho, i)[h];
      const double scale = 1 - shape.lambda_init;
      double dot = 0;
      for (std::int64_t j = 0; j < n; ++j)
        dot += scale * w[j] * dout[j] * (signal[j] - l * noise[j]);
      for (std::int64_t j = 0; j < n; ++j) {
        const double difference = signal[j] - l * noise[j];
        const double gradient =
            r * scale * w[j] * dout[j] - r * r * r * difference * dot / static_cast<double>(n);
        row<double>(a.dattended, i)[signal_at + j] = gradient;
        row<double>(a.dattended, i)[noise_at + j] -= l * gradient;
        if (a.dsubln) a.dsubln.data<double>()[j] += scale * dout[j] * difference * r;
        *a.dlambda.data<double>() -= gradient * noise[j];
      }
    }
  }
}

void reference_delta(std::int64_t n, const Tensor& attended, const Tensor& dattended,
                     const Tensor& delta) {
  for (std::int64_t i = 0; i < delta.elements(); ++i) {
    double dot = 0;
    for (std::int64_t j = i * n; j < (i + 1) * n; ++j) {
      dot += attended.data<double>()[j] * dattended.data<double>()[j];
    }
    delta.data<double>()[i] = dot;
  }
}

// A gate: its row, its head, and its number when rows are dense.
struct GatedHead {
  std::int64_t row;
  std::int64_t head;
  std::int64_t pair;
};

// Calls f for each gate, in parallel if asked for.
template <class F>
void for_each_gate(const Tensor& gate, bool parallel, const F& f) {
  const std::int64_t heads = gate.dim(1);
#pragma omp parallel for schedule(static) if (parallel)
  for (std::int64_t pair = 0; pair < gate.elements(); ++pair) {
    f(GatedHead{.row = pair / heads, .head = pair % heads, .pair = pair});
  }
}

void reference_gated_forward(const Tensor& attended, const Tensor& gate, const Tensor& out) {
  const std::int64_t n = attended.dim(1) / (2 * gate.dim(1));
  for_each_gate(gate, false, [&](GatedHead at) {
    const double* a = attended.data<double>() + at.pair * 2 * n;
    double* to = out.data<double>() + at.pair * n;
    const double s = 1 / (1 + std::exp(-row<double>(gate, at.row)[at.head]));
    for (std::int64_t j = 0; j < n; ++j) to[j] = a[j] - s * a[n + j];
  });
}

void reference_gated_backward(const Tensor& attended, const Tensor& gate, const Tensor& dout,
                              const Tensor& dattended, const Tensor& dgate) {
  const std::int64_t n = attended.dim(1) / (2 * gate.dim(1));
  for_each_gate(gate, false, [&](GatedHead at) {
    const double* a = attended.data<double>() + at.pair * 2 * n;
    const double* gradient = dout.data<double>() + at.pair * n;
    double* da = dattended.data<double>() + at.pair * 2 * n;
    const double s = 1 / (1 + std::exp(-row<double>(gate, at.row)[at.head]));
    double dot = 0;
    for (std::int64_t j = 0; j < n; ++j) {
      dot += gradient[j] * a[n + j];
      da[j] = gradient[j];
      da[n + j] = -s * gradient[j];
    }
    row<double>(dgate, at.row)[at.head] = -s * (1 - s) * dot;
  });
}

template <class T>
const DifferentialRows<T>& rows() {
  return choose(baseline::kDifferential, avx2::kDifferential, avx512::kDifferential).of<T>();
}

DifferentialGroup group_of(const DifferentialShape& shape, const Tensor& lambda,
                           const Tensor& subln) {
  return {.ratio = shape.ratio,
          .n = shape.value_dim,
          .lambda = *lambda.data<float>(),
          .scale = static_cast<float>(1 - shape.lambda_init),
          .eps = static_cast<float>(shape.eps),
          .subln = subln.data<float>()};
}

template <class T>
void quick_forward(const ops::DifferentialForward& a) {
  const DifferentialShape& shape = a.shape;
  const auto forward = rows<T>().forward;
  const DifferentialGroup group = group_of(shape, a.lambda, a.subln);
  const std::int64_t signal = shape.ratio * shape.value_dim;
  // Rows and groups are one contiguous sequence.
#pragma omp parallel for schedule(static) if (a.attended.elements() > kParallelElements)
  for (std::int64_t g = 0; g < a.attended.dim(0) * shape.noise_heads; ++g) {
    forward(&group, a.attended.data<T>() + g * (signal + shape.value_dim),
            a.y.data<T>() + g * signal, a.rho.data<float>() + g * shape.ratio);
  }
}

template <class T>
void quick_backward(const Context& context, const ops::DifferentialBackward& a) {
  const DifferentialShape& shape = a.shape;
  const auto backward = rows<T>().backward;
  const DifferentialGroup group = group_of(shape, a.lambda, a.subln);
  const std::int64_t n = shape.value_dim;
  const std::int64_t signal = shape.ratio * n;
  const RowBlocks blocks(a.attended.dim(0) * shape.noise_heads);
  const ArenaScope scope(context.arena);
  float* dsubln_of = context.arena.allocate(DType::f32, {blocks.count(), n}).data<float>();
  float* scratch_of = context.arena.allocate(DType::f32, {blocks.count(), n}).data<float>();
  double* dot_of = context.arena.allocate(DType::f64, {blocks.count()}).data<double>();
#pragma omp parallel for schedule(static) if (a.attended.elements() > kParallelElements)
  for (std::int64_t b = 0; b < blocks.count(); ++b) {
    std::fill_n(dsubln_of + b * n, n, 0.0F);
    double dot = 0;
    for (std::int64_t g = blocks.begin(b); g < blocks.end(b); ++g) {
      dot += backward(
          &group, a.attended.data<T>() + g * (signal + n), a.rho.data<float>() + g * shape.ratio,
          a.dy.data<T>() + g * signal, a.dattended.data<T>() + g * (signal + n), dsubln_of + b * n,
          scratch_of + b * n, a.delta ? a.delta.data<float>() + g * (shape.ratio + 1) : nullptr);
    }
    dot_of[b] = dot;
  }
  if (a.dsubln) add_blocks(dsubln_of, blocks.count(), n, a.dsubln.data<float>());
  double total = 0;
  for (std::int64_t b = 0; b < blocks.count(); ++b) total += dot_of[b];
  *a.dlambda.data<float>() = static_cast<float>(-total);
}

}  // namespace

void lambda_forward(const Context& /*context*/, const LambdaVectors& vectors, double lambda_init,
                    const Tensor& lambda) {
  with_accumulate_type(lambda.dtype(), [&]<class V>(std::type_identity<V>) {
    *lambda.data<V>() = static_cast<V>(exp_dot<V>(vectors.q1, vectors.k1) -
                                       exp_dot<V>(vectors.q2, vectors.k2) + lambda_init);
  });
}

void lambda_backward(const Context& /*context*/, const LambdaVectors& vectors,
                     const Tensor& dlambda, const LambdaVectors& dvectors) {
  with_accumulate_type(dlambda.dtype(), [&]<class V>(std::type_identity<V>) {
    const double gradient = *dlambda.data<V>();
    add_pair<V>(gradient * exp_dot<V>(vectors.q1, vectors.k1), vectors.q1, vectors.k1, dvectors.q1,
                dvectors.k1);
    add_pair<V>(-gradient * exp_dot<V>(vectors.q2, vectors.k2), vectors.q2, vectors.k2, dvectors.q2,
                dvectors.k2);
  });
}

void differential_forward(const Context& /*context*/, const ops::DifferentialForward& a) {
  ops::with_compute_type(a.attended.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_forward(a);
    } else {
      quick_forward<T>(a);
    }
  });
}

void differential_backward(const Context& context, const ops::DifferentialBackward& a) {
  ops::with_compute_type(a.attended.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_backward(a);
      if (a.delta) reference_delta(a.shape.value_dim, a.attended, a.dattended, a.delta);
    } else {
      quick_backward<T>(context, a);
    }
  });
}

void gated_difference_forward(const Context& /*context*/, const Tensor& attended,
                              const Tensor& gate, const Tensor& out) {
  ops::with_compute_type(attended.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_gated_forward(attended, gate, out);
    } else {
      const auto forward = rows<T>().gated_forward;
      const std::int64_t n = attended.dim(1) / (2 * gate.dim(1));
      for_each_gate(gate, attended.elements() > kParallelElements, [&](GatedHead at) {
        forward(attended.data<T>() + at.pair * 2 * n, row<T>(gate, at.row) + at.head, n,
                out.data<T>() + at.pair * n);
      });
    }
  });
}

void gated_difference_backward(const Context& /*context*/, const Tensor& attended,
                               const Tensor& gate, const Tensor& dout, const Tensor& dattended,
                               const Tensor& dgate) {
  ops::with_compute_type(attended.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, double>) {
      reference_gated_backward(attended, gate, dout, dattended, dgate);
    } else {
      const auto backward = rows<T>().gated_backward;
      const std::int64_t n = attended.dim(1) / (2 * gate.dim(1));
      for_each_gate(gate, attended.elements() > kParallelElements, [&](GatedHead at) {
        backward(attended.data<T>() + at.pair * 2 * n, row<T>(gate, at.row) + at.head,
                 dout.data<T>() + at.pair * n, n, dattended.data<T>() + at.pair * 2 * n,
                 row<T>(dgate, at.row) + at.head);
      });
    }
  });
}

}  // namespace gda::cpu
