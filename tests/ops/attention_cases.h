// Head mappings, tensors and error bounds shared by the tests of attention.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "gda/ops/attention.h"
#include "support/op_test.h"

namespace gda::test {

// Which key and value head each query head reads, and whether V is twice as wide as K.
struct HeadMapping {
  std::string name;
  std::vector<int> key_head;
  std::vector<int> value_head;
  int key_heads;
  int value_heads;
  int value_factor;
};

inline std::vector<HeadMapping> head_mappings() {
  return {
      {"multi_head", {0, 1, 2}, {0, 1, 2}, 3, 3, 1},
      {"grouped_query", {0, 0, 1, 1}, {0, 0, 1, 1}, 2, 2, 1},
      // A signal and a noise head a group, each with its key; one V of width 2d for both.
      {"differential", {0, 1, 2, 3}, {0, 0, 1, 1}, 4, 2, 2},
      {"ratio_3", {0, 0, 0, 1, 2, 2, 2, 3}, {0, 0, 0, 0, 1, 1, 1, 1}, 4, 2, 2},
      // Two noise heads share a group's K and V: h_n = 2G, ratio 2.
      {"two_noise_heads",
       {0, 0, 1, 0, 0, 1, 2, 2, 3, 2, 2, 3},
       {0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1},
       4,
       2,
       2},
      {"differential_v2", {0, 0, 0, 0, 1, 1, 1, 1}, {0, 0, 0, 0, 1, 1, 1, 1}, 2, 2, 1},
      // Heads that share by chains (0-1 a value, 1-2 a key), out of order, and heads nobody reads.
      {"chained", {3, 0, 1, 1}, {2, 0, 0, 1}, 4, 4, 1},
      // More heads on one key than a task takes at once.
      {"multi_query", std::vector<int>(11, 0), std::vector<int>(11, 0), 1, 1, 1},
  };
}

inline AttentionShape attention_shape(const HeadMapping& mapping, std::int64_t batch,
                                      std::int64_t query_length, std::int64_t query_offset,
                                      std::int64_t head_dim) {
  AttentionShape shape;
  shape.batch = batch;
  shape.query_length = query_length;
  shape.query_offset = query_offset;
  shape.key_length = query_length + query_offset;
  shape.head_dim = head_dim;
  shape.value_dim = mapping.value_factor * head_dim;
  shape.key_head = mapping.key_head;
  shape.value_head = mapping.value_head;
  shape.key_heads = mapping.key_heads;
  shape.value_heads = mapping.value_heads;
  return shape;
}

// Documents of 37 tokens, so that borders fall inside tiles; each sequence of a batch has its own.
inline TestTensor document_starts(const AttentionShape& shape, std::int64_t length = 37) {
  TestTensor first(DType::i32, {shape.batch * shape.query_length});
  for (std::int64_t row = 0; row < first.tensor.dim(0); ++row) {
    const std::int64_t position = row % shape.query_length + shape.query_offset;
    const std::int64_t shift = 2 * (row / shape.query_length) % length;
    const std::int64_t start = (position + shift) / length * length - shift;
    set(first.tensor, row, static_cast<double>(std::max<std::int64_t>(0, start)));
  }
  return first;
}

// All tensors of a forward and a backward pass.
struct AttentionRun {
  AttentionRun(const AttentionShape& s, DType type)
      : AttentionRun(s, type, random_tensor("q", type, q_shape(s)),
                     random_tensor("k", type, k_shape(s)), random_tensor("v", type, v_shape(s)),
                     random_tensor("dout", type, out_shape(s))) {}
  // The same inputs in another type.
  AttentionRun(const AttentionRun& from, DType type)
      : AttentionRun(from.shape, type, cast(from.q.tensor, type), cast(from.k.tensor, type),
                     cast(from.v.tensor, type), cast(from.dout.tensor, type)) {
    if (from.first_key.tensor) first_key = cast(from.first_key.tensor, DType::i32);
    if (from.delta.tensor) delta = cast(from.delta.tensor, accumulate_type(type));
  }
  AttentionRun(const AttentionShape& s, DType type, TestTensor q_, TestTensor k_, TestTensor v_,
               TestTensor dout_)
      : shape(s),
        q(std::move(q_)),
        k(std::move(k_)),
        v(std::move(v_)),
        dout(std::move(dout_)),
        out(type, out_shape(s)),
        lse(accumulate_type(type), {s.batch * s.query_length, s.query_heads()}),
        dq(type, q_shape(s)),
        dk(type, k_shape(s)),
        dv(type, v_shape(s)) {}

  static Shape q_shape(const AttentionShape& s) {
    return {s.batch * s.query_length, s.query_heads() * s.head_dim};
  }
  static Shape k_shape(const AttentionShape& s) {
    return {s.batch * s.key_length, s.key_heads * s.head_dim};
  }
  static Shape v_shape(const AttentionShape& s) {
    return {s.batch * s.key_length, s.value_heads * s.value_dim};
  }
  static Shape out_shape(const AttentionShape& s) {
    return {s.batch * s.query_length, s.query_heads() * s.value_dim};
  }

  void forward() {
    attention_forward(context, shape, q.tensor, k.tensor, v.tensor, first_key.tensor, out.tensor,
                      lse.tensor);
  }
  // Gradients overwrite: they start as something else.
  void backward() {
    for (const TestTensor* gradient : {&dq, &dk, &dv}) fill(gradient->tensor, 7);
    attention_backward(context, shape, q.tensor, k.tensor, v.tensor, first_key.tensor, out.tensor,
                       lse.tensor, dout.tensor, dq.tensor, dk.tensor, dv.tensor, delta.tensor);
  }

  TestContext context;
  AttentionShape shape;
  TestTensor q, k, v, first_key, dout, delta;
  TestTensor out, lse, dq, dk, dv;
};

inline double largest_row_norm(const Tensor& tensor, std::int64_t width) {
  double largest = 0;
  for (std::int64_t i = 0; i < tensor.elements(); i += width) {
    double sum = 0;
    for (std::int64_t n = 0; n < width; ++n) sum += get(tensor, i + n) * get(tensor, i + n);
    largest = std::max(largest, sum);
  }
  return std::sqrt(largest);
}

// Largest errors of f32 arithmetic, results rounded to `type`.
//
// u = 2^-24. Rounding errors of a sum of n products are taken as 8 sqrt(n) u times the product of
// the two norms (Higham and Mary 2019: they behave like a random walk; 8 standard deviations). A
// score is off by s = 8 (sqrt(d) + 1) u |q||k| / sqrt(d), and log-sum-exp by as much, so a weight
// by a relative 2s. A result is a sum over up to T heads' rows of weights times v, dout, or
// dS = P (dP - delta), |dP|, |delta| <= D = |dout||v|, whose relative error is as P's and whose
// absolute one adds 8 sqrt(d_v) u D. C = max_j sum_i P_ij: what the columns sum up to.
struct AttentionBounds {
  // `exact`: after forward and backward in f64.
  AttentionBounds(AttentionRun& exact, DType type) {
    const AttentionShape& s = exact.shape;
    const double u = unit_roundoff(DType::f32);
    const double rounding = type == DType::f32 ? u : unit_roundoff(type);
    const double scale = 1 / std::sqrt(static_cast<double>(s.head_dim));
    const double q_norm = largest_row_norm(exact.q.tensor, s.head_dim);
    const double k_norm = largest_row_norm(exact.k.tensor, s.head_dim);
    const double score = 8 * (std::sqrt(s.head_dim) + 1) * u * q_norm * k_norm * scale;
    const double terms = std::sqrt(static_cast<double>(s.key_length) * exact.q.tensor.dim(1));
    const double weight = 2 * score + 8 * u * terms;
    const double dweight = largest_row_norm(exact.dout.tensor, s.value_dim) *
                           largest_row_norm(exact.v.tensor, s.value_dim);
    const double dscore = scale * dweight * (2 * weight + 8 * std::sqrt(s.value_dim) * u);

    const TestTensor dout = cast(exact.dout.tensor, DType::f64);
    const TestTensor dv = cast(exact.dv.tensor, DType::f64);
    const TestTensor dk = cast(exact.dk.tensor, DType::f64);
    const TestTensor dq = cast(exact.dq.tensor, DType::f64);
    fill(exact.dout.tensor, 1);
    exact.backward();
    const double column = max_abs(exact.dv.tensor);
    exact.dout = cast(dout.tensor, DType::f64);
    exact.dv = cast(dv.tensor, DType::f64);
    exact.dk = cast(dk.tensor, DType::f64);
    exact.dq = cast(dq.tensor, DType::f64);

    // Tensor cores take weights and dscores that are rounded to bf16: relative errors of u16 in
    // sums of |P v| <= |v|, of |P dout| and, for |dS| <= 2 scale D P, of |dS k| and |dS q|.
    const bool rounds_weights = on_cuda() && type == DType::bf16;
    const double rounded = rounds_weights ? unit_roundoff(DType::bf16) : 0;
    const double rounded_dscore = 2 * rounded * scale * dweight;

    lse_error = score + 8 * u * (max_abs(exact.lse.tensor) + terms);
    out_error = (weight + rounded) * max_abs(exact.v.tensor) + rounding * max_abs(exact.out.tensor);
    dq_error = (dscore + rounded_dscore) * max_abs(exact.k.tensor) + rounding * max_abs(dq.tensor);
    dk_error = column * (dscore + rounded_dscore) * max_abs(exact.q.tensor) +
               rounding * max_abs(dk.tensor);
    dv_error = column * (weight + rounded) * max_abs(dout.tensor) + rounding * max_abs(dv.tensor);
  }
  double out_error, lse_error, dq_error, dk_error, dv_error;
};

// Compares a type with f64 on the same inputs. Backward gets the outputs of the type's own forward
// pass on both sides: errors of the one are not counted against the other.
inline void expect_like_reference(AttentionRun& run) {
  const DType type = run.q.tensor.dtype();
  SCOPED_TRACE(testing::Message() << name_of(type) << " T " << run.shape.query_length << " offset "
                                  << run.shape.query_offset << " d " << run.shape.head_dim);
  run.forward();
  run.backward();
  const OnCpu judge;
  AttentionRun exact(run, DType::f64);
  exact.forward();
  const TestTensor exact_out = std::move(exact.out);
  const TestTensor exact_lse = std::move(exact.lse);
  exact.out = cast(run.out.tensor, DType::f64);
  exact.lse = cast(run.lse.tensor, DType::f64);
  exact.backward();
  const AttentionBounds bounds(exact, type);
  EXPECT_LE(max_difference(run.out.tensor, exact_out.tensor), bounds.out_error);
  EXPECT_LE(max_difference(run.lse.tensor, exact_lse.tensor), bounds.lse_error);
  EXPECT_LE(max_difference(run.dq.tensor, exact.dq.tensor), bounds.dq_error);
  EXPECT_LE(max_difference(run.dk.tensor, exact.dk.tensor), bounds.dk_error);
  EXPECT_LE(max_difference(run.dv.tensor, exact.dv.tensor), bounds.dv_error);
}

}  // namespace gda::test
