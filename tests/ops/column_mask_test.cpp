// The operators that take a mask of columns: RMSNorm, SwiGLU and PolyNorm.
#include "gda/ops/column_mask.h"

#include <array>
#include <cstring>

#include "gda/ops/gated_activation.h"
#include "gda/ops/rms_norm.h"
#include "support/op_test.h"

namespace gda::test {
namespace {

enum class Kind { rms_norm, swiglu, poly_norm };
constexpr Kind kKinds[] = {Kind::rms_norm, Kind::swiglu, Kind::poly_norm};
constexpr DType kTypes[] = {DType::f64, DType::f32, DType::bf16};
constexpr std::int64_t kWidths[] = {2, 7, 13, 129, 512};
constexpr double kEps = 1e-5;

// Every third column is new, so that the masked ones lie among the others.
bool is_new(std::int64_t column) {
  return column % 3 == 1;
}

// A mask's memory.
struct Mask {
  Mask(DType compute, std::int64_t columns, double m) : value(accumulate_type(compute), {columns}) {
    std::int64_t grown = 0;
    for (std::int64_t j = 0; j < columns; ++j) {
      set(value.tensor, j, is_new(j) ? m : 1);
      grown += is_new(j) ? 1 : 0;
    }
    view = {.value = value.tensor, .sum = static_cast<double>(columns - grown) + m * grown};
  }
  TestTensor value;
  ColumnMask view;
};

// All tensors of one call: x is the norm's input or the gate, `up` the gated operators' alone.
struct Call {
  Call(Kind operation, DType type, std::int64_t row_count, std::int64_t columns)
      : kind(operation),
        rows(row_count),
        n(columns),
        x(random_tensor("x", type, {rows, n})),
        up(random_tensor("up", type, {rows, n})),
        weight(random_tensor("weight", accumulate_type(type), {kind == Kind::rms_norm ? n : 3})),
        bias(random_tensor("bias", accumulate_type(type), {1})),
        dout(random_tensor("dout", type, {rows, n})),
        out(type, {rows, n}),
        rho(accumulate_type(type), {rows}),
        dx(type, {rows, n}),
        dup(type, {rows, n}),
        dweight(accumulate_type(type), weight.tensor.shape()),
        dbias(accumulate_type(type), {1}) {}

  void forward(const ColumnMask& mask) const {
    if (kind == Kind::rms_norm) {
      rms_norm_forward(context, x.tensor, weight.tensor, kEps, out.tensor, rho.tensor, mask);
    } else if (kind == Kind::swiglu) {
      swiglu_forward(context, x.tensor, up.tensor, out.tensor, mask);
    } else {
      poly_norm_forward(context, x.tensor, up.tensor, weight.tensor, bias.tensor, out.tensor, mask);
    }
  }

  void backward(const ColumnMask& mask) const {
    if (kind == Kind::rms_norm) {
      rms_norm_backward(context, dout.tensor, x.tensor, weight.tensor, rho.tensor, {}, dx.tensor,
                        dweight.tensor, mask);
    } else if (kind == Kind::swiglu) {
      swiglu_backward(context, x.tensor, up.tensor, dout.tensor, dx.tensor, dup.tensor, mask);
    } else {
      poly_norm_backward(context, x.tensor, up.tensor, weight.tensor, bias.tensor, dout.tensor,
                         dx.tensor, dup.tensor, dweight.tensor, dbias.tensor, mask);
    }
  }

  void run(const ColumnMask& mask) const {
    forward(mask);
    backward(mask);
  }

  std::vector<const TestTensor*> inputs() const { return {&x, &up, &weight, &bias, &dout}; }
  std::vector<const TestTensor*> results() const { return {&out, &dx, &dup, &dweight, &dbias}; }

  // Takes over the other's inputs; rows may be longer there, of which only old columns are taken.
  void take_inputs(const Call& other) const {
    for (std::size_t i = 0; i < inputs().size(); ++i) {
      const Tensor& from = other.inputs()[i]->tensor;
      const Tensor& to = inputs()[i]->tensor;
      std::int64_t next = 0;
      for (std::int64_t j = 0; j < from.elements(); ++j) {
        if (from.elements() != to.elements() && is_new(j % other.n)) continue;
        set(to, next++, get(from, j));
      }
      EXPECT_EQ(next, to.elements());
    }
  }

  Kind kind;
  std::int64_t rows, n;
  TestContext context;
  TestTensor x, up, weight, bias, dout, out, rho, dx, dup, dweight, dbias;
};

std::string name_of_kind(Kind kind) {
  return kind == Kind::rms_norm ? "rms_norm" : kind == Kind::swiglu ? "swiglu" : "poly_norm";
}

TEST(ColumnMask, NormIsTheFormula) {
  const Call call(Kind::rms_norm, DType::f64, 1, 4);
  const Mask mask(DType::f64, 4, 0.25);  // 1, 0.25, 1, 1
  call.forward(mask.view);
  double sum = 0;
  for (int j = 0; j < 4; ++j) {
    sum += (j == 1 ? 0.25 : 1) * get(call.x.tensor, j) * get(call.x.tensor, j);
  }
  const double rho = 1 / std::sqrt(sum / 3.25 + kEps);
  EXPECT_NEAR(get(call.rho.tensor, 0), rho, 1e-14);
  EXPECT_NEAR(get(call.out.tensor, 1),
              0.25 * get(call.weight.tensor, 1) * get(call.x.tensor, 1) * rho, 1e-14);
}

TEST(ColumnMask, GradientsMatchFiniteDifferences) {
  for (const Kind kind : kKinds) {
    for (const std::int64_t n : {2, 7, 13}) {
      SCOPED_TRACE(fmt::format("{} n={}", name_of_kind(kind), n));
      const Call call(kind, DType::f64, 3, n);
      const Mask mask(DType::f64, n, 0.3);
      call.run(mask.view);
      const auto loss = [&] {
        call.forward(mask.view);
        return dot(call.out.tensor, call.dout.tensor);
      };
      expect_gradient(call.x.tensor, call.dx.tensor, loss, {.step = 1e-4});
      if (kind != Kind::rms_norm) expect_gradient(call.up.tensor, call.dup.tensor, loss);
      if (kind != Kind::swiglu) expect_gradient(call.weight.tensor, call.dweight.tensor, loss);
      if (kind == Kind::poly_norm) expect_gradient(call.bias.tensor, call.dbias.tensor, loss);
    }
  }
}

TEST(ColumnMask, OnesAreThePlainOperatorBitByBit) {
  for (const Kind kind : kKinds) {
    for (const DType dtype : kTypes) {
      for (const std::int64_t n : kWidths) {
        SCOPED_TRACE(fmt::format("{} {} n={}", name_of_kind(kind), name_of(dtype), n));
        const Call plain(kind, dtype, 37, n);
        const Call masked(kind, dtype, 37, n);
        plain.run({});
        masked.run(Mask(dtype, n, 1).view);
        for (std::size_t i = 0; i < plain.results().size(); ++i) {
          const Tensor& a = plain.results()[i]->tensor;
          const Tensor& b = masked.results()[i]->tensor;
          EXPECT_EQ(std::memcmp(a.raw(), b.raw(), a.bytes()), 0) << "result " << i;
        }
      }
    }
  }
}

// With factors 0 the old columns are the operator of the old width: the same sums, in f32 in
// another order (n terms of one sign err by n u; 16 roundings follow; terms of the gradients may
// cancel, which the largest of them measures). The new columns give and get exact zeros.
TEST(ColumnMask, ZerosAreTheSmallOperator) {
  for (const Kind kind : kKinds) {
    for (const DType dtype : {DType::f64, DType::f32}) {
      for (const std::int64_t n : kWidths) {
        SCOPED_TRACE(fmt::format("{} {} n={}", name_of_kind(kind), name_of(dtype), n));
        const Call large(kind, dtype, 5, n);
        for (std::int64_t i = 0; i < 5 * n; ++i) {
          if (is_new(i % n)) set(large.x.tensor, i, 100 * get(large.x.tensor, i));
        }
        const Call small(kind, dtype, 5, n - (n + 1) / 3);
        small.take_inputs(large);
        large.run(Mask(dtype, n, 0).view);
        small.run({});
        for (std::size_t i = 0; i < small.results().size(); ++i) {
          const Tensor& actual = large.results()[i]->tensor;
          const Tensor& expected = small.results()[i]->tensor;
          const double allowed =
              static_cast<double>(n + 16) * unit_roundoff(dtype) * (1 + max_abs(expected)) * 16;
          std::int64_t next = 0;
          for (std::int64_t j = 0; j < actual.elements(); ++j) {
            if (actual.elements() != expected.elements() && is_new(j % n)) {
              EXPECT_EQ(get(actual, j), 0) << "result " << i << " element " << j;
            } else {
              EXPECT_NEAR(get(actual, j), get(expected, next++), allowed) << "result " << i;
            }
          }
        }
      }
    }
  }
}

// The vector code against the plain loops on the same numbers: a row's sum of n terms errs by about
// sqrt(n) u, a dozen operations follow, and every result is a sum of terms up to the largest
// product of its factors, which the square of the largest numbers bounds.
TEST(ColumnMask, QuickMatchesReference) {
  for (const Kind kind : kKinds) {
    for (const DType dtype : judged_types()) {
      // (1,100 rows: several for each of a GPU's blocks)
      for (const auto& [rows, n] :
           {std::pair(11, 2), {11, 7}, {11, 13}, {11, 129}, {11, 512}, {1100, 7}, {2, 1031}}) {
        SCOPED_TRACE(
            fmt::format("{} {} rows={} n={}", name_of_kind(kind), name_of(dtype), rows, n));
        const Call quick(kind, dtype, rows, n);
        // A factor that every type holds exactly.
        quick.run(Mask(dtype, n, 0.375).view);
        const OnCpu judge;
        const Call exact(kind, DType::f64, rows, n);
        exact.take_inputs(quick);
        exact.run(Mask(DType::f64, n, 0.375).view);
        const double root = std::sqrt(static_cast<double>(n));
        const double error = (root + 16) * unit_roundoff(DType::f32);
        const double input =
            std::max(1.0, max_abs(exact.x.tensor)) * std::max(1.0, max_abs(exact.up.tensor)) *
            std::max(1.0, max_abs(exact.weight.tensor)) * std::max(1.0, max_abs(exact.dout.tensor));
        for (std::size_t i = 0; i < exact.results().size(); ++i) {
          const Tensor& a = quick.results()[i]->tensor;
          const Tensor& b = exact.results()[i]->tensor;
          const bool parameter = i >= 3;
          const double term = input * root * (parameter ? rows : 1);
          EXPECT_LE(max_difference(a, b), error * term + unit_roundoff(a.dtype()) * max_abs(b))
              << "result " << i;
        }
      }
    }
  }
}

// The gradient that goes around a norm is added whole; a sum of two numbers is rounded once more.
TEST(ColumnMask, WhatGoesAroundIsNotMasked) {
  for (const DType dtype : kTypes) {
    const Call call(Kind::rms_norm, dtype, 5, 13);
    const Mask mask(dtype, 13, 0.25);
    call.run(mask.view);
    const TestTensor alone = cast(call.dx.tensor, DType::f64);
    const TestTensor around = random_tensor("around", dtype, {5, 13});
    rms_norm_backward(call.context, call.dout.tensor, call.x.tensor, call.weight.tensor,
                      call.rho.tensor, around.tensor, call.dx.tensor, call.dweight.tensor,
                      mask.view);
    const double allowed =
        2 * unit_roundoff(dtype) * (max_abs(alone.tensor) + max_abs(around.tensor));
    for (std::int64_t i = 0; i < 5 * 13; ++i) {
      EXPECT_NEAR(get(call.dx.tensor, i), get(alone.tensor, i) + get(around.tensor, i), allowed);
    }
  }
}

TEST(ColumnMask, RefusesBadMasks) {
  const Mask wide(DType::f32, 8, 0.5);
  const Mask exact(DType::f64, 7, 0.5);
  Mask mask(DType::f32, 7, 0.5);
  for (const auto& [kind, forward] : {std::pair{Kind::rms_norm, "rms_norm_forward"},
                                      {Kind::swiglu, "swiglu_forward"},
                                      {Kind::poly_norm, "poly_norm_forward"}}) {
    const Call call(kind, DType::f32, 2, 7);
    const std::string op = forward;
    expect_error([&] { call.forward(wide.view); },
                 "[" + op + "] mask: expected fp32[7], got fp32[8]");
    expect_error([&] { call.backward(exact.view); }, "mask: expected fp32[7], got fp64[7]");
    if (kind == Kind::swiglu) continue;  // which takes no sum
    for (const double sum : {0.0, 7.5}) {
      mask.view.sum = sum;
      expect_error([&] { call.forward(mask.view); },
                   fmt::format("[{}] mask: expected a sum of factors in (0, 7], got {}", op, sum));
    }
  }
}

}  // namespace
}  // namespace gda::test
