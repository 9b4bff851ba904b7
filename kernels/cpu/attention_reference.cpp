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

void attention_forward(const Context& context, const AttentionShape& shape, const Tensor& q,
                       const Tensor& k, const Tensor& v, const Tensor& first_key, const Tensor& out,
                       const Tensor& lse) {
  const ArenaScope scope(context.arena);
  auto* score = context.arena.allocate(DType::f64, {shape.key_length}).data<double>();
  const double scale = 1 / std::sqrt(static_cast<double>(shape.head_dim));
  const Rows rows{shape};
  for_each_query(shape, first_key, [&](const Query& at) {
    double maximum = -INFINITY;
    for (std::int64_t j = at.first_key; j < at.end_key; ++j) {
      score[j] = scale * dot(rows.query(q, at), rows.key(k, at, j), shape.head_dim);
      maximum = std::max(maximum, score[j]);
    }
    double sum = 0;
    for (std::int64_t j = at.first_key; j < at.end_key; ++j) sum += std::exp(score[j] - maximum);
    const double log_sum = maximum + std::log(sum);
    lse.data<double>()[at.row * shape.query_heads() + at.head] = log_sum;
    double* output = rows.out(out, at);
    std::fill_n(output, shape.value_dim, 0.0);
    for (std::int64_t j = at.first_key; j < at.end_key; ++j) {
      add_scaled(output, std::exp(score[j] - log_sum), rows.value(v, at, j), shape.value_dim);
    }
  });
}

void attention_backward(const Context&, const AttentionShape& shape, const Tensor& q,
                        const Tensor& k, const Tensor& v, const Tensor& first_key,
                        const Tensor& out, const Tensor& lse, const Tensor& dout, const Tensor& dq,
                        const Tensor& dk, const Tensor& dv, const Tensor& given_delta) {
  const double scale = 1 / std::sqrt(static_cast<double>(shape.head_dim));
  const Rows rows{shape};
  fill_zero(dq);
  fill_zero(dk);
  fill_zero(dv);
  for_each_query(shape, first_key, [&](const Query& at) {
    const double* gradient = rows.out(dout, at);
    const std::int64_t pair = at.row * shape.query_heads() + at.head;
    const double delta = given_delta ? given_delta.data<double>()[pair]
                                     : dot(gradient, rows.out(out, at), shape.value_dim);
    const double log_sum = lse.data<double>()[pair];
    for (std::int64_t j = at.first_key; j < at.end_key; ++j) {
      const double score = scale * dot(rows.query(q, at), rows.key(k, at, j), shape.head_dim);
      const double weight = std::exp(score - log_sum);
      add_scaled(rows.value(dv, at, j), weight, gradient, shape.value_dim);
      const double dweight = dot(gradient, rows.value(v, at, j), shape.value_dim);
      const double dscore = scale * weight * (dweight - delta);
      add_scaled(rows.query(dq, at), dscore, rows.key(k, at, j), shape.head_dim);
      add_scaled(rows.key(dk, at, j), dscore, rows.query(q, at), shape.head_dim);
    }
  });
}

}  // namespace gda::cpu::reference
