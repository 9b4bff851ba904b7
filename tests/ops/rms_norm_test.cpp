#include "gda/ops/rms_norm.h"

#include <omp.h>

#include "support/op_test.h"

namespace gda::test {
namespace {

constexpr double kEps = 1e-5;
constexpr std::int64_t kWidths[] = {1, 7, 13, 129, 768};

// Relative rounding of a row's result in f32: a sum of n squares errs by about sqrt(n) u (its
// roundings are independent), halved by the root; the few operations after it by u each.
double row_error(std::int64_t n) {
  return (std::sqrt(static_cast<double>(n)) + 8) * unit_roundoff(DType::f32);
}

// All tensors of one call.
struct RmsNorm {
  RmsNorm(DType dtype, std::int64_t rows, std::int64_t n)
      : x(random_tensor("x", dtype, {rows, n})),
        weight(random_tensor("weight", accumulate_type(dtype), {n}, 0.3, 1)),
        dy(random_tensor("dy", dtype, {rows, n})),
        carried(random_tensor("carried", dtype, {rows, n})),
        y(dtype, {rows, n}),
        rho(accumulate_type(dtype), {rows}),
        dx(dtype, {rows, n}),
        dweight(accumulate_type(dtype), {n}) {}

  // Takes over the other's numbers.
  void take_inputs(const RmsNorm& other) {
    x = cast(other.x.tensor, x.tensor.dtype());
    weight = cast(other.weight.tensor, weight.tensor.dtype());
    dy = cast(other.dy.tensor, dy.tensor.dtype());
  }

  void forward() { rms_norm_forward(context, x.tensor, weight.tensor, kEps, y.tensor, rho.tensor); }
  void backward(const Tensor& residual_gradient = {}) {
    rms_norm_backward(context, dy.tensor, x.tensor, weight.tensor, rho.tensor, residual_gradient,
                      dx.tensor, dweight.tensor);
  }
  double loss() {
    forward();
    return dot(y.tensor, dy.tensor);
  }

  TestContext context;
  TestTensor x, weight, dy, carried, y, rho, dx, dweight;
};

TEST(RmsNorm, IsTheFormula) {
  RmsNorm op(DType::f64, 2, 3);
  for (int i = 0; i < 6; ++i) set(op.x.tensor, i, i + 1);
  for (int j = 0; j < 3; ++j) set(op.weight.tensor, j, 10 * (j + 1));
  op.forward();
  const double rho = 1 / std::sqrt((16.0 + 25.0 + 36.0) / 3 + kEps);
  EXPECT_NEAR(get(op.rho.tensor, 1), rho, 1e-15);
  EXPECT_NEAR(get(op.y.tensor, 4), 20 * 5 * rho, 1e-13);
}

TEST(RmsNorm, GradientsMatchFiniteDifferences) {
  for (const std::int64_t n : {1, 7, 13}) {
    RmsNorm op(DType::f64, 3, n);
    op.forward();
    op.backward();
    expect_gradient(op.x.tensor, op.dx.tensor, [&] { return op.loss(); }, {.step = 1e-4});
    expect_gradient(op.weight.tensor, op.dweight.tensor, [&] { return op.loss(); });
  }
}

void compare_with_reference(DType dtype, std::int64_t rows, std::int64_t n) {
  SCOPED_TRACE(fmt::format("{} rows={} n={}", name_of(dtype), rows, n));
  RmsNorm quick(dtype, rows, n);
  const OnCpu judge;
  RmsNorm exact(DType::f64, rows, n);
  exact.take_inputs(quick);
  for (RmsNorm* op : {&quick, &exact}) {
    op->forward();
    op->backward();
  }
  const double u = unit_roundoff(dtype);  // of the value that is stored
  EXPECT_LE(relative_difference(quick.rho.tensor, exact.rho.tensor), row_error(n));
  EXPECT_LE(relative_difference(quick.y.tensor, exact.y.tensor), row_error(n) + u);
  // dx is a difference of terms up to rho |w dy| sqrt(n), which cancel when n is small.
  const double term = max_abs(exact.rho.tensor) * max_abs(exact.weight.tensor) *
                      max_abs(exact.dy.tensor) * std::sqrt(static_cast<double>(n));
  EXPECT_LE(max_difference(quick.dx.tensor, exact.dx.tensor),
            row_error(n) * term + u * max_abs(exact.dx.tensor));
  // A sum over rows of dy * y / w, whose terms each carry a row's error; it errs by about
  // sqrt(rows) u itself.
  const double sum = max_abs(exact.dy.tensor) * max_abs(exact.y.tensor) * static_cast<double>(rows);
  const double summing = std::sqrt(static_cast<double>(rows)) * unit_roundoff(DType::f32);
  EXPECT_LE(max_difference(quick.dweight.tensor, exact.dweight.tensor),
            (row_error(n) + summing) * sum);
}

TEST(RmsNorm, QuickMatchesReference) {
  for (const DType dtype : judged_types()) {
    for (const std::int64_t n : kWidths) compare_with_reference(dtype, 37, n);
    compare_with_reference(dtype, 1100, 16);   // several rows for each of a GPU's blocks
    compare_with_reference(dtype, 1100, 3);    // ... and for each of the CPU's, element by element
    compare_with_reference(dtype, 3, 777);     // more elements than a block has threads
    compare_with_reference(dtype, 3, 4104);    // ... and more packs
    compare_with_reference(dtype, 3, 16'640);  // a block's shared memory does not hold the sums
  }
}

TEST(RmsNorm, ResidualGradientIsAddedAndMayBeDx) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    RmsNorm op(dtype, 9, 13);
    op.forward();
    op.backward();
    const TestTensor plain = cast(op.dx.tensor, DType::f64);
    op.backward(op.carried.tensor);
    const TestTensor apart = cast(op.dx.tensor, DType::f64);
    op.dx = cast(op.carried.tensor, dtype);
    op.backward(op.dx.tensor);
    EXPECT_EQ(max_difference(op.dx.tensor, apart.tensor), 0) << name_of(dtype);
    double allowed = 2 * unit_roundoff(dtype) * (max_abs(plain.tensor) + max_abs(apart.tensor));
    for (std::int64_t i = 0; i < plain.tensor.elements(); ++i) {
      EXPECT_NEAR(get(apart.tensor, i), get(plain.tensor, i) + get(op.carried.tensor, i), allowed);
    }
  }
}

TEST(RmsNorm, WeightGradientAccumulates) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    RmsNorm op(dtype, 5, 13);
    op.forward();
    op.backward();
    const TestTensor once = cast(op.dweight.tensor, DType::f64);
    op.backward();
    // Sums of three numbers in two orders.
    const double allowed = 16 * unit_roundoff(accumulate_type(dtype)) * max_abs(once.tensor);
    for (std::int64_t j = 0; j < 13; ++j) {
      EXPECT_NEAR(get(op.dweight.tensor, j), 2 * get(once.tensor, j), allowed);
    }
  }
}

TEST(RmsNorm, WeightGradientDoesNotDependOnThreads) {
  RmsNorm op(DType::f32, 300, 129);  // enough for several threads
  op.forward();
  op.backward();
  const TestTensor many = cast(op.dweight.tensor, DType::f32);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(threads == 1 ? 3 : 1);
  fill(op.dweight.tensor, 0);
  op.backward();
  omp_set_num_threads(threads);
  EXPECT_EQ(max_difference(op.dweight.tensor, many.tensor), 0);
}

TEST(RmsNorm, KeepsNan) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    RmsNorm op(dtype, 2, 13);
    set(op.x.tensor, 4, NAN);
    op.forward();
    for (std::int64_t j = 0; j < 13; ++j) {
      EXPECT_TRUE(std::isnan(get(op.y.tensor, j)));
      EXPECT_FALSE(std::isnan(get(op.y.tensor, 13 + j)));
    }
  }
}

TEST(RmsNorm, TakesNoRows) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    RmsNorm op(dtype, 0, 5);
    op.forward();
    op.backward();
    EXPECT_EQ(max_abs(op.dweight.tensor), 0);
  }
}

TEST(RmsNorm, RefusesBadArguments) {
  RmsNorm op(DType::f32, 4, 6);
  const TestContext context;
  const TestTensor wide(DType::f32, {4, 8});
  const Tensor strided = wide.tensor.columns(0, 6);
  const auto forward = [&](const Tensor& x, const Tensor& weight, double eps, const Tensor& y,
                           const Tensor& rho) {
    return [=, &context] { rms_norm_forward(context, x, weight, eps, y, rho); };
  };
  const Tensor& x = op.x.tensor;
  const Tensor& w = op.weight.tensor;
  const Tensor& y = op.y.tensor;
  const Tensor& rho = op.rho.tensor;
  expect_error(forward(random_indices("i", {4, 6}, 3).tensor, w, kEps, y, rho),
               "[rms_norm_forward] expected fp64, fp32 or bf16, got int32[4, 6]");
  expect_error(forward(w, w, kEps, y, rho),
               "[rms_norm_forward] x: expected rows [N, D] with D at least 1, got fp32[6]");
  expect_error(forward(strided, w, kEps, y, rho),
               "[rms_norm_forward] x: expected contiguous rows, got row stride 8 for fp32[4, 6]");
  expect_error(forward(x, rho, kEps, y, rho),
               "[rms_norm_forward] weight: expected fp32[6], got fp32[4]");
  expect_error(forward(x, w, -1, y, rho),
               "[rms_norm_forward] eps: expected a number of at least 0, got -1");
  expect_error(forward(x, w, kEps, wide.tensor, rho),
               "[rms_norm_forward] y: expected fp32[4, 6], got fp32[4, 8]");
  expect_error(forward(x, w, kEps, y, {}),
               "[rms_norm_forward] rho: expected fp32[4], got an empty tensor");
  expect_error([&] { rms_norm_backward(context, wide.tensor, x, w, rho, {}, y, w); },
               "[rms_norm_backward] dy: expected fp32[4, 6], got fp32[4, 8]");
  expect_error([&] { rms_norm_backward(context, y, x, w, rho, wide.tensor, y, w); },
               "[rms_norm_backward] residual_gradient: expected fp32[4, 6], got fp32[4, 8]");
  expect_error([&] { rms_norm_backward(context, y, x, w, rho, {}, y, rho); },
               "[rms_norm_backward] dweight: expected fp32[6], got fp32[4]");
}

}  // namespace
}  // namespace gda::test
