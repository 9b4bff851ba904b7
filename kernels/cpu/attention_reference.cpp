#include "attention_reference.h"

#include <algorithm>
#include <cmath>

namespace gda::cpu::reference {
namespace {

double dot(const double* a, const double* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

void add_scaled(double* target, double factor, const double* source, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) target[i] += factor * source[i];
}

void fill_zero(const Tensor& tensor) {
  for (std::int64_t row = 0; row < tensor.dim(0); ++row) {
    std::fill_n(tensor.data<double>() + row * tensor.row_stride(), tensor.dim(1), 0.0);
  }
}

// One query of one head: where its rows are and which keys it sees.
struct Query {
  std::int64_t batch, head, row;    // row = b * Tq + i
  std::int64_t first_key, end_key;  // [first, end)
};

template <class F>
void for_each_query(const AttentionShape& shape, const Tensor& first_key, F&& f) {
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t h = 0; h < shape.query_heads(); ++h) {
      for (std::int64_t i = 0; i < shape.query_length; ++i) {
        const std::int64_t row = b * shape.query_length + i;
        const std::int64_t first = first_key.empty() ? 0 : first_key.data<std::int32_t>()[row];
        f(Query{b, h, row, first, i + shape.query_offset + 1});
      }
    }
  }
}

// Row pointers of the heads that a query reads or writes.
struct Rows {
  const AttentionShape& shape;

  double* query(const Tensor& t, const Query& at) const {
    return t.data<double>() + at.row * t.row_stride() + at.head * shape.head_dim;
  }
  double* out(const Tensor& t, const Query& at) const {
    return t.data<double>() + at.row * t.row_stride() + at.head * shape.value_dim;
  }
  double* key(const Tensor& t, const Query& at, std::int64_t j) const {
    return t.data<double>() + (at.batch * shape.key_length + j) * t.row_stride() +
           shape.key_head[static_cast<std::size_t>(at.head)] * shape.head_dim;
  }
  double* value(const Tensor& t, const Query& at, std::int64_t j) const {
    return t.data<double>() + (at.batch * shape.key_length + j) * t.row_stride() +
           shape.value_head[static_cast<std::size_t>(at.head)] * shape.value_dim;
  }
};

}  // namespace

void attention_forward(const Context& context, const ops::AttentionForward& a) {
  const ArenaScope scope(context.arena);
  auto* score = context.arena.allocate(DType::f64, {a.shape.key_length}).data<double>();
  const double scale = 1 / std::sqrt(static_cast<double>(a.shape.head_dim));
  const Rows rows{a.shape};
  for_each_query(a.shape, a.first_key, [&](const Query& at) {
    double maximum = -INFINITY;
    for (std::int64_t j = at.first_key; j < at.end_key; ++j) {
      score[j] = scale * dot(rows.query(a.q, at), rows.key(a.k, at, j), a.shape.head_dim);
      maximum = std::max(maximum, score[j]);
    }
    double sum = 0;
    for (std::int64_t j = at.first_key; j < at.end_key; ++j) sum += std::exp(score[j] - maximum);
    const double log_sum = maximum + std::log(sum);
    const std::int64_t pair = at.row * a.shape.query_heads() + at.head;
    a.lse.data<double>()[pair] = log_sum;
    if (a.row_max) a.row_max.data<double>()[pair] = maximum;
    double* output = rows.out(a.out, at);
    std::fill_n(output, a.shape.value_dim, 0.0);
    for (std::int64_t j = at.first_key; j < at.end_key; ++j) {
      add_scaled(output, std::exp(score[j] - log_sum), rows.value(a.v, at, j), a.shape.value_dim);
    }
  });
}

void attention_backward(const Context&, const ops::AttentionBackward& a) {
  const double scale = 1 / std::sqrt(static_cast<double>(a.shape.head_dim));
  const Rows rows{a.shape};
  fill_zero(a.dq);
  fill_zero(a.dk);
  fill_zero(a.dv);
  for_each_query(a.shape, a.first_key, [&](const Query& at) {
    const double* gradient = rows.out(a.dout, at);
    const std::int64_t pair = at.row * a.shape.query_heads() + at.head;
    const double delta = a.delta ? a.delta.data<double>()[pair]
                                 : dot(gradient, rows.out(a.out, at), a.shape.value_dim);
    const double log_sum = a.lse.data<double>()[pair];
    for (std::int64_t j = at.first_key; j < at.end_key; ++j) {
      const double score = scale * dot(rows.query(a.q, at), rows.key(a.k, at, j), a.shape.head_dim);
      const double weight = std::exp(score - log_sum);
      add_scaled(rows.value(a.dv, at, j), weight, gradient, a.shape.value_dim);
      const double dweight = dot(gradient, rows.value(a.v, at, j), a.shape.value_dim);
      const double dscore = scale * weight * (dweight - delta);
      add_scaled(rows.query(a.dq, at), dscore, rows.key(a.k, at, j), a.shape.head_dim);
      add_scaled(rows.key(a.dk, at, j), dscore, rows.query(a.q, at), a.shape.head_dim);
    }
  });
}

}  // namespace gda::cpu::reference
