#include "gda/ops/gated_activation.h"

#include <omp.h>

#include "support/op_test.h"

namespace gda::test {
namespace {

constexpr DType kTypes[] = {DType::f64, DType::f32, DType::bf16};
// Rows and columns: those of vectors, packs and single elements; several rows for each of a GPU's
// blocks, and of the CPU's; columns that go round a GPU's block twice, in packs and one by one.
constexpr std::pair<std::int64_t, std::int64_t> kSizes[] = {
    {37, 1}, {37, 7}, {37, 13}, {37, 129}, {37, 512}, {1100, 3}, {1100, 16}, {2, 1031}, {2, 8232}};
constexpr double kPolyNormEps = 1e-6;

// All tensors of one call; gate and up, and their gradients, are halves of fused rows.
struct Gated {
  Gated(DType dtype, std::int64_t row_count, std::int64_t width)
      : rows(row_count),
        n(width),
        inputs(random_tensor("inputs", dtype, {rows, 2 * n})),
        dout(random_tensor("dout", dtype, {rows, n})),
        weight(random_tensor("weight", accumulate_type(dtype), {3})),
        bias(random_tensor("bias", accumulate_type(dtype), {1})),
        out(dtype, {rows, n}),
        gradients(dtype, {rows, 2 * n}),
        dweight(accumulate_type(dtype), {3}),
        dbias(accumulate_type(dtype), {1}) {}

  void take_inputs(const Gated& other) {
    inputs = cast(other.inputs.tensor, inputs.tensor.dtype());
    dout = cast(other.dout.tensor, dout.tensor.dtype());
    weight = cast(other.weight.tensor, weight.tensor.dtype());
    bias = cast(other.bias.tensor, bias.tensor.dtype());
  }

  Tensor gate() const { return inputs.tensor.columns(0, n); }
  Tensor up() const { return inputs.tensor.columns(n, n); }
  Tensor dgate() const { return gradients.tensor.columns(0, n); }
  Tensor dup() const { return gradients.tensor.columns(n, n); }

  void swiglu() const { swiglu_forward(context, gate(), up(), out.tensor); }
  void swiglu_back() const { swiglu_backward(context, gate(), up(), dout.tensor, dgate(), dup()); }
  void poly_norm() const {
    poly_norm_forward(context, gate(), up(), weight.tensor, bias.tensor, out.tensor);
  }
  void poly_norm_back() const {
    poly_norm_backward(context, gate(), up(), weight.tensor, bias.tensor, dout.tensor, dgate(),
                       dup(), dweight.tensor, dbias.tensor);
  }

  std::int64_t rows, n;
  TestContext context;
  TestTensor inputs, dout, weight, bias, out, gradients, dweight, dbias;
};

double mean_of_power(const Tensor& gate, std::int64_t row, int power) {
  double sum = 0;
  for (std::int64_t j = 0; j < gate.dim(1); ++j) {
    sum += std::pow(get(gate, row * gate.dim(1) + j), power);
  }
  return sum / static_cast<double>(gate.dim(1));
}

// The largest sum of |w n(x^k)| and |b| of any element, and of the slopes |w dn(x^k)/dx| with the
// norms held fixed: what the errors of f32 are relative to.
struct PolyNormSize {
  double value = 0;
  double slope = 0;
};
PolyNormSize size_of_poly_norm(const Gated& op) {
  PolyNormSize size;
  for (std::int64_t i = 0; i < op.rows; ++i) {
    double r[4];
    for (int k = 1; k <= 3; ++k) {
      r[k] = 1 / std::sqrt(mean_of_power(op.gate(), i, 2 * k) + kPolyNormEps);
    }
    for (std::int64_t j = 0; j < op.n; ++j) {
      const double x = std::abs(get(op.gate(), i * op.n + j));
      double value = std::abs(get(op.bias.tensor, 0));
      double slope = 0;
      for (int k = 1; k <= 3; ++k) {
        const double w = std::abs(get(op.weight.tensor, 3 - k));
        value += w * std::pow(x, k) * r[k];
        slope += w * k * std::pow(x, k - 1) * r[k];
      }
      size.value = std::max(size.value, value);
      size.slope = std::max(size.slope, slope);
    }
  }
  return size;
}

// sqrt(sum_j g_j^2) of one row, g = dout * up.
double norm_of_gradient(const Gated& op, std::int64_t row) {
  double sum = 0;
  for (std::int64_t i = row * op.n; i < (row + 1) * op.n; ++i) {
    sum += std::pow(get(op.dout.tensor, i) * get(op.up(), i), 2);
  }
  return std::sqrt(sum);
}

// A sum of n terms errs by about sqrt(n) u, since its roundings are independent; a dozen operations
// follow.
double row_error(std::int64_t n) {
  return (std::sqrt(static_cast<double>(n)) + 12) * unit_roundoff(DType::f32);
}

TEST(Swiglu, IsTheFormula) {
  const Gated op(DType::f64, 2, 3);
  op.swiglu();
  for (std::int64_t i = 0; i < 6; ++i) {
    const double x = get(op.gate(), i);
    EXPECT_NEAR(get(op.out.tensor, i), x / (1 + std::exp(-x)) * get(op.up(), i), 1e-15);
  }
}

TEST(Swiglu, GradientsMatchFiniteDifferences) {
  const Gated op(DType::f64, 3, 7);
  op.swiglu_back();
  expect_gradient(op.inputs.tensor, op.gradients.tensor, [&] {
    op.swiglu();
    return dot(op.out.tensor, op.dout.tensor);
  });
}

TEST(Swiglu, QuickMatchesReference) {
  for (const DType dtype : judged_types()) {
    for (const auto& [rows, n] : kSizes) {
      SCOPED_TRACE(fmt::format("{} rows={} n={}", name_of(dtype), rows, n));
      const Gated quick(dtype, rows, n);
      const OnCpu judge;
      Gated exact(DType::f64, rows, n);
      exact.take_inputs(quick);
      for (const Gated* op : {&quick, static_cast<const Gated*>(&exact)}) {
        op->swiglu();
        op->swiglu_back();
      }
      // exp within 2 ulp = 4 u, and under eight more operations. 1 - s, up to u from s, is
      // multiplied by x, which |x| s (1 - s) < 0.25 keeps below the rest.
      const double error = 16 * unit_roundoff(DType::f32) + unit_roundoff(dtype);
      const double x = std::max(1.0, max_abs(exact.gate()));
      const double term = max_abs(exact.dout.tensor) * std::max(1.0, max_abs(exact.up())) * x;
      EXPECT_LE(max_difference(quick.out.tensor, exact.out.tensor),
                error * max_abs(exact.up()) * x);
      EXPECT_LE(max_difference(quick.gradients.tensor, exact.gradients.tensor), error * term);
    }
  }
}

// More rows than a grid can have: the operator is one of elements, so each row is the first's.
TEST(Swiglu, MoreRowsThanAGridHas) {
  constexpr std::int64_t kRows = 65535 + 2;
  const Gated op(DType::f32, kRows, 1);
  fill(op.gate(), 0.5);
  fill(op.up(), 2);
  fill(op.dout.tensor, 3);
  op.swiglu();
  op.swiglu_back();
  for (const Tensor& result : {op.out.tensor, op.dgate(), op.dup()}) {
    const std::vector<double> all = values(result);
    EXPECT_NE(all.front(), 0);
    EXPECT_EQ(all, std::vector<double>(all.size(), all.front()));
  }
}

TEST(Swiglu, FarFromZero) {
  // f32's exp stops at about 2^128, so its sigmoid stops just below 2^-127 instead of at 0.
  const double nothing = 1000 * std::ldexp(1.0, -127);
  for (const DType dtype : kTypes) {
    const TestTensor gate(dtype, {1, 4});
    const TestTensor up(dtype, {1, 4});
    const TestTensor out(dtype, {1, 4});
    const TestTensor dgate(dtype, {1, 4});
    const TestTensor dup(dtype, {1, 4});
    const double x[] = {-1000, 1000, NAN, 0};
    for (int j = 0; j < 4; ++j) set(gate.tensor, j, x[j]);
    fill(up.tensor, 1);
    swiglu_forward(TestContext(), gate.tensor, up.tensor, out.tensor);
    EXPECT_NEAR(get(out.tensor, 0), 0, nothing);
    EXPECT_EQ(get(out.tensor, 1), 1000);
    EXPECT_TRUE(std::isnan(get(out.tensor, 2)));
    EXPECT_EQ(get(out.tensor, 3), 0);
    swiglu_backward(TestContext(), gate.tensor, up.tensor, up.tensor, dgate.tensor, dup.tensor);
    EXPECT_NEAR(get(dgate.tensor, 0), 0, nothing);
    EXPECT_EQ(get(dgate.tensor, 1), 1);
    EXPECT_TRUE(std::isnan(get(dgate.tensor, 2)));
    EXPECT_EQ(get(dgate.tensor, 3), 0.5);
  }
}

TEST(PolyNorm, IsTheFormula) {
  const Gated op(DType::f64, 2, 5);
  op.poly_norm();
  const Tensor& w = op.weight.tensor;
  for (std::int64_t i = 0; i < 2; ++i) {
    const auto norm = [&](int k, double x) {
      return std::pow(x, k) / std::sqrt(mean_of_power(op.gate(), i, 2 * k) + kPolyNormEps);
    };
    for (std::int64_t j = 0; j < 5; ++j) {
      const double x = get(op.gate(), 5 * i + j);
      const double activation = get(w, 0) * norm(3, x) + get(w, 1) * norm(2, x) +
                                get(w, 2) * norm(1, x) + get(op.bias.tensor, 0);
      EXPECT_NEAR(get(op.out.tensor, 5 * i + j), activation * get(op.up(), 5 * i + j), 1e-14);
    }
  }
}

TEST(PolyNorm, GradientsMatchFiniteDifferences) {
  for (const std::int64_t n : {1, 7, 13}) {
    SCOPED_TRACE(n);
    const Gated op(DType::f64, 3, n);
    op.poly_norm_back();
    const auto loss = [&] {
      op.poly_norm();
      return dot(op.out.tensor, op.dout.tensor);
    };
    expect_gradient(op.inputs.tensor, op.gradients.tensor, loss, {.step = 2e-4});
    expect_gradient(op.weight.tensor, op.dweight.tensor, loss);
    expect_gradient(op.bias.tensor, op.dbias.tensor, loss);
  }
}

TEST(PolyNorm, QuickMatchesReference) {
  for (const DType dtype : judged_types()) {
    for (const auto& [rows, n] : kSizes) {
      SCOPED_TRACE(fmt::format("{} rows={} n={}", name_of(dtype), rows, n));
      const Gated quick(dtype, rows, n);
      const OnCpu judge;
      Gated exact(DType::f64, rows, n);
      exact.take_inputs(quick);
      for (const Gated* op : {&quick, static_cast<const Gated*>(&exact)}) {
        op->poly_norm();
        op->poly_norm_back();
      }
      const PolyNormSize size = size_of_poly_norm(exact);
      const double up = max_abs(exact.up());
      const double dout = max_abs(exact.dout.tensor);
      const double u = unit_roundoff(dtype);
      const double root = std::sqrt(static_cast<double>(n));
      EXPECT_LE(max_difference(quick.out.tensor, exact.out.tensor),
                row_error(n) * size.value * up + u * max_abs(exact.out.tensor));
      EXPECT_LE(max_difference(quick.dup(), exact.dup()),
                row_error(n) * size.value * dout + u * max_abs(exact.dup()));
      // The second term of dx is at most sqrt(n) times the first (r |x|^k <= sqrt(n)).
      EXPECT_LE(max_difference(quick.dgate(), exact.dgate()),
                row_error(n) * (1 + root) * size.slope * up * dout + u * max_abs(exact.dgate()));
      // sum_j |g x^k r| of a row is at most sqrt(n sum g^2) (Cauchy: mean (x^k r)^2 <= 1), and so
      // is sum_j |g|.
      double sum = 0;
      for (std::int64_t i = 0; i < exact.rows; ++i) sum += root * norm_of_gradient(exact, i);
      EXPECT_LE(max_difference(quick.dweight.tensor, exact.dweight.tensor), row_error(n) * sum);
      EXPECT_LE(max_difference(quick.dbias.tensor, exact.dbias.tensor), row_error(n) * sum);
    }
  }
}

TEST(PolyNorm, LargeInputsStayInRange) {
  // n() does not depend on the scale of x as long as x^2 is far above eps, so neither does the
  // output; powers up to the sixth stay below f32's largest number.
  for (const double scale : {1e2, 1e5}) {
    const Gated unit(DType::f32, 3, 13);
    Gated scaled(DType::f32, 3, 13);
    for (std::int64_t i = 0; i < 39; ++i) set(scaled.gate(), i, scale * get(unit.gate(), i));
    const OnCpu judge;
    Gated exact(DType::f64, 3, 13);
    exact.take_inputs(scaled);
    for (const Gated* op :
         {static_cast<const Gated*>(&scaled), static_cast<const Gated*>(&exact)}) {
      op->poly_norm();
      op->poly_norm_back();
    }
    const PolyNormSize size = size_of_poly_norm(exact);
    const double g = max_abs(exact.up()) * max_abs(exact.dout.tensor);
    EXPECT_LE(max_difference(scaled.out.tensor, exact.out.tensor),
              2 * row_error(13) * size.value * max_abs(exact.up()));
    EXPECT_LE(max_difference(scaled.dgate(), exact.dgate()),
              row_error(13) * (1 + std::sqrt(13.0)) * size.slope * g);
  }
}

TEST(PolyNorm, ParameterGradientsAccumulateInOrder) {
  for (const DType dtype : kTypes) {
    const Gated op(dtype, 300, 129);  // enough for several threads
    op.poly_norm_back();
    const TestTensor once = cast(op.dweight.tensor, DType::f64);
    const double bias = get(op.dbias.tensor, 0);
    const int threads = omp_get_max_threads();
    omp_set_num_threads(threads == 1 ? 3 : 1);
    op.poly_norm_back();
    omp_set_num_threads(threads);
    if (dtype == DType::f64) {
      // Added term by term, so rounded in another order: 300 * 129 terms of size 1.
      EXPECT_NEAR(get(op.dbias.tensor, 0), 2 * bias, 1e-10);
      continue;
    }
    // One addition of the same number.
    EXPECT_EQ(get(op.dbias.tensor, 0), 2 * bias);
    for (std::int64_t k = 0; k < 3; ++k) {
      EXPECT_EQ(get(op.dweight.tensor, k), 2 * get(once.tensor, k));
    }
  }
}

TEST(PolyNorm, KeepsNan) {
  for (const DType dtype : kTypes) {
    const Gated op(dtype, 2, 13);
    set(op.gate(), 4, NAN);
    op.poly_norm();
    for (std::int64_t j = 0; j < 13; ++j) {
      EXPECT_TRUE(std::isnan(get(op.out.tensor, j)));
      EXPECT_FALSE(std::isnan(get(op.out.tensor, 13 + j)));
    }
  }
}

TEST(GatedActivation, TakesNoRows) {
  for (const DType dtype : kTypes) {
    const Gated op(dtype, 0, 5);
    op.swiglu();
    op.swiglu_back();
    op.poly_norm();
    op.poly_norm_back();
    EXPECT_EQ(max_abs(op.dweight.tensor), 0);
  }
}

TEST(GatedActivation, RefusesBadArguments) {
  const Gated op(DType::f32, 4, 6);
  const TestContext context;
  const Tensor gate = op.gate();
  const Tensor wide = op.inputs.tensor;
  const TestTensor half(DType::bf16, {4, 6});
  const Tensor out = op.out.tensor;
  const Tensor w = op.weight.tensor;
  const Tensor b = op.bias.tensor;
  expect_error([&] { swiglu_forward(context, w, w, w); },
               "[swiglu_forward] gate: expected rows [N, F] with F at least 1, got fp32[3]");
  expect_error([&] { swiglu_forward(context, gate, half.tensor, out); },
               "[swiglu_forward] up: expected fp32[4, 6], got bf16[4, 6]");
  expect_error([&] { swiglu_forward(context, gate, gate, wide.columns(0, 6)); },
               "[swiglu_forward] out: expected contiguous rows, got row stride 12 for fp32[4, 6]");
  expect_error([&] { swiglu_backward(context, gate, gate, wide, out, out); },
               "[swiglu_backward] dout: expected fp32[4, 6], got fp32[4, 12]");
  expect_error([&] { swiglu_backward(context, gate, gate, out, out, {}); },
               "[swiglu_backward] dup: expected fp32[4, 6], got an empty tensor");
  expect_error([&] { poly_norm_forward(context, gate, gate, b, b, out); },
               "[poly_norm_forward] weight: expected fp32[3], got fp32[1]");
  expect_error([&] { poly_norm_forward(context, gate, gate, w, w, out); },
               "[poly_norm_forward] bias: expected fp32[1], got fp32[3]");
  expect_error([&] { poly_norm_backward(context, gate, gate, w, b, out, wide, out, w, b); },
               "[poly_norm_backward] dgate: expected fp32[4, 6], got fp32[4, 12]");
  expect_error([&] { poly_norm_backward(context, gate, gate, w, b, out, out, out, b, b); },
               "[poly_norm_backward] dweight: expected fp32[3], got fp32[1]");
  expect_error([&] { poly_norm_backward(context, gate, gate, w, b, out, out, out, w, w); },
               "[poly_norm_backward] dbias: expected fp32[1], got fp32[3]");
}

}  // namespace
}  // namespace gda::test
