#include <algorithm>
#include <cmath>

#include "isa.h"
#include "isa/linear_cross_entropy.h"
#include "ops/backend.h"
#include "parallel.h"

namespace gda::cpu {
namespace {

const CrossEntropyTable& table() {
  static const CrossEntropyTable& chosen =
      choose(baseline::kCrossEntropy, avx2::kCrossEntropy, avx512::kCrossEntropy);
  return chosen;
}

template <class T>
T* row_of(const Tensor& matrix, std::int64_t row) {
  return matrix.data<T>() + row * matrix.row_stride();
}

// Calls f(row, target) for rows that are not left out.
template <class F>
void for_each_row(const Tensor& target, const F& f) {
  parallel_pieces(target.dim(0), 1, [&](std::int64_t n, std::int64_t) {
    const std::int64_t id = target.data<std::int32_t>()[n];
    if (id != kIgnoreTarget) f(n, id);
  });
}

double statistic(const Tensor& rows, std::int64_t n) {
  return rows.dtype() == DType::f64 ? rows.data<double>()[n]
                                    : static_cast<double>(rows.data<float>()[n]);
}

// The plain version for f64.
double reference_sum(const double* logits, std::int64_t n, double largest) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    sum += std::exp(logits[i] - largest) + (std::isfinite(logits[i]) ? 0.0 : NAN);
  }
  return sum;
}

double reference_loss(const ops::RowStatistics& rows, std::int64_t n) {
  return std::log(rows.sum.data<double>()[n]) + rows.maximum.data<double>()[n] -
         rows.chosen.data<double>()[n];
}

void reference_gradient(const ops::CrossEntropyGradient& a, std::int64_t n, std::int64_t target) {
  double* x = row_of<double>(a.logits, n);
  const double log_sum = reference_loss(a.rows, n) + a.rows.chosen.data<double>()[n];
  for (std::int64_t i = 0; i < a.logits.dim(1); ++i) {
    x[i] = a.scale * (std::exp(x[i] - log_sum) - (i == target ? 1 : 0));
  }
}

}  // namespace

void softmax_statistics(const Context& /*context*/, const ops::SoftmaxStatistics& a) {
  const std::int64_t vocabulary = a.logits.dim(1);
  auto* sum = a.rows.sum.data<double>();
  if (a.logits.dtype() == DType::f64) {
    for_each_row(a.target, [&](std::int64_t n, std::int64_t target) {
      const double* x = row_of<double>(a.logits, n);
      const double largest = *std::max_element(x, x + vocabulary);
      if (target >= 0) a.rows.chosen.data<double>()[n] = x[target];
      a.rows.maximum.data<double>()[n] = largest;
      sum[n] = reference_sum(x, vocabulary, largest);
    });
    return;
  }
  for_each_row(a.target, [&](std::int64_t n, std::int64_t target) {
    float* x = row_of<float>(a.logits, n);
    if (target >= 0) a.rows.chosen.data<float>()[n] = x[target];
    const CrossEntropyTable::Statistics row =
        a.for_gradient ? table().exponentials(x, vocabulary) : table().statistics(x, vocabulary);
    a.rows.maximum.data<float>()[n] = row.largest;
    sum[n] = row.sum;
  });
}

void local_targets(const Context& /*context*/, const ops::LocalTargets& a) {
  auto* local = a.local.data<std::int32_t>();
  for (std::int64_t n = 0; n < a.target.dim(0); ++n) {
    const std::int32_t id = a.target.data<std::int32_t>()[n];
    const std::int64_t row = id - a.part.first;
    const bool here = row >= 0 && row < a.rows;
    local[n] = id == kIgnoreTarget ? id : here ? static_cast<std::int32_t>(row) : ops::kElsewhere;
  }
}

void statistics_message(const Context& context, const ops::StatisticsMessage& a) {
  cpu::fill_zero(context, a.message);
  auto* sum = a.message.data<double>();
  auto* chosen = sum + a.message.dim(1);
  for_each_row(a.target, [&](std::int64_t n, std::int64_t target) {
    const double below = statistic(a.rows.local_maximum, n) - statistic(a.rows.maximum, n);
    sum[n] = a.rows.sum.data<double>()[n] * std::exp(below);
    if (target >= 0) chosen[n] = statistic(a.rows.chosen, n);
  });
}

void cross_entropy_loss(const Context& context, const ops::CrossEntropyLoss& a) {
  cpu::fill_zero(context, a.loss);
  if (a.loss.dtype() == DType::f64) {
    for_each_row(a.target, [&](std::int64_t n, std::int64_t) {
      a.loss.data<double>()[n] = reference_loss(a.rows, n);
    });
    return;
  }
  for_each_row(a.target, [&](std::int64_t n, std::int64_t) {
    const double largest = a.rows.maximum.data<float>()[n];
    const double chosen = a.rows.chosen.data<float>()[n];
    a.loss.data<float>()[n] =
        static_cast<float>(std::log(a.rows.sum.data<double>()[n]) + (largest - chosen));
  });
}

void cross_entropy_gradient(const Context& context, const ops::CrossEntropyGradient& a) {
  for (std::int64_t n = 0; n < a.target.dim(0); ++n) {
    if (a.target.data<std::int32_t>()[n] == kIgnoreTarget) {
      cpu::fill_zero(context, a.gradient.rows(n, 1));
    }
  }
  if (a.gradient.dtype() == DType::f64) {
    for_each_row(a.target,
                 [&](std::int64_t n, std::int64_t target) { reference_gradient(a, n, target); });
    return;
  }
  // exponentials are relative to the largest logit here, which may be far below the largest of all
  const auto sum_here = [&](std::int64_t n) {
    const double sum = a.rows.sum.data<double>()[n];
    if (!a.rows.local_maximum) return sum;
    return sum * std::exp(statistic(a.rows.maximum, n) - statistic(a.rows.local_maximum, n));
  };
  const auto& row_function =
      a.gradient.dtype() == DType::bf16 ? table().bf16_gradient : table().gradient;
  for_each_row(a.target, [&](std::int64_t n, std::int64_t target) {
    row_function(row_of<float>(a.logits, n), a.logits.dim(1), target, a.scale, sum_here(n));
  });
}

}  // namespace gda::cpu
