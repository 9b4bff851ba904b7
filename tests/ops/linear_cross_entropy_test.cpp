#include "gda/ops/linear_cross_entropy.h"

#include <optional>

#include "gda/ops/matmul.h"
#include "support/op_test.h"

namespace gda::test {
namespace {

constexpr double kScale = 0.25;

struct Problem {
  Problem(DType dtype, std::int64_t rows, std::int64_t width, std::int64_t vocabulary)
      : x(random_tensor("x", dtype, {rows, width})),
        weight(random_tensor("weight", dtype, {vocabulary, width})),
        target(random_indices("target", {rows}, vocabulary)),
        loss(accumulate_type(dtype), {rows}),
        dx(dtype, {rows, width}),
        dweight(random_tensor("dweight", accumulate_type(dtype), {vocabulary, width})) {}
  // The same numbers in f64.
  explicit Problem(const Problem& other, DType dtype)
      : x(cast(other.x.tensor, dtype)),
        weight(cast(other.weight.tensor, dtype)),
        target(cast(other.target.tensor, DType::i32)),
        loss(accumulate_type(dtype), other.loss.tensor.shape()),
        dx(dtype, other.x.tensor.shape()),
        dweight(cast(other.dweight.tensor, accumulate_type(dtype))) {}

  void forward(std::size_t max_logit_bytes) const {
    linear_cross_entropy_forward(TestContext(), x.tensor, weight.tensor, target.tensor, loss.tensor,
                                 {.max_logit_bytes = max_logit_bytes});
  }
  void forward_backward(std::size_t max_logit_bytes) const {
    linear_cross_entropy_forward_backward(TestContext(), x.tensor, weight.tensor, target.tensor,
                                          kScale, loss.tensor, dx.tensor, dweight.tensor,
                                          {.max_logit_bytes = max_logit_bytes});
  }

  TestTensor x, weight, target, loss, dx, dweight;
};

TEST(LinearCrossEntropy, ReferenceIsTheFormula) {
  const Problem p(DType::f64, 3, 2, 4);
  set(p.target.tensor, 1, kIgnoreTarget);
  p.forward(1);
  for (std::int64_t n = 0; n < 3; ++n) {
    double sum = 0;
    const auto logit = [&](std::int64_t v) {
      return dot(p.x.tensor.rows(n, 1), p.weight.tensor.rows(v, 1));
    };
    for (std::int64_t v = 0; v < 4; ++v) sum += std::exp(logit(v));
    const auto id = static_cast<std::int64_t>(get(p.target.tensor, n));
    const double expected = id == kIgnoreTarget ? 0 : std::log(sum) - logit(id);
    EXPECT_NEAR(get(p.loss.tensor, n), expected, 1e-14);
  }
}

TEST(LinearCrossEntropy, Gradients) {
  const Problem p(DType::f64, 5, 4, 7);
  set(p.target.tensor, 2, kIgnoreTarget);
  fill(p.dweight.tensor, 0);
  p.forward_backward(2 * 7 * sizeof(double));  // chunks of 2, 2 and 1 rows
  const auto loss = [&] {
    p.forward(1 << 20);
    double sum = 0;
    for (const double value : values(p.loss.tensor)) sum += value;
    return kScale * sum;
  };
  expect_gradient(p.x.tensor, p.dx.tensor, loss);
  expect_gradient(p.weight.tensor, p.dweight.tensor, loss);
}

// Bounds on the difference of a loss from f64. A logit is a sum of D products, wrong by at most
// 6 sqrt(D + 1) u |x||w| (see matmul's test). A loss adds: two such errors, the rounding of
// logit - max, exp's 2 ulp, a sum with up to 512 / 4 f32 additions a lane, and its own rounding. A
// GPU's thread takes a larger logit for its maximum when it meets one, and multiplies what it has
// by another exp: at most once for each of its packs of 4 in blocks of 512 threads, once for what
// is left, once for the row. (Their arguments add up to the same logit - max.)
struct LossTolerance {
  double loss_alone;
  double
      with_gradient;  // on a GPU logits are of the compute type, and both of a loss rounded to it
};

LossTolerance loss_tolerance(const Problem& reference, DType dtype) {
  const double u = unit_roundoff(DType::f32);
  const auto width = static_cast<double>(reference.x.tensor.dim(1));
  const Shape shape{reference.x.tensor.dim(0), reference.weight.tensor.dim(0)};
  const TestTensor magnitudes(DType::f64, shape);
  matmul(TestContext(), absolute(reference.x.tensor).tensor,
         absolute(reference.weight.tensor).tensor, magnitudes.tensor, {.transpose_b = true});
  const TestTensor logits(DType::f64, shape);
  matmul(TestContext(), reference.x.tensor, reference.weight.tensor, logits.tensor,
         {.transpose_b = true});
  const double magnitude = max_abs(magnitudes.tensor);
  const double logit = 6 * std::sqrt(width + 1) * u * magnitude;
  const double exponentials =
      on_cuda() ? 3 + std::ceil(static_cast<double>(shape[1]) / (4 * 512)) : 1;
  const double alone = 2 * logit + (2 * magnitude + 4 * exponentials + 512.0 / 4) * u +
                       u * max_abs(reference.loss.tensor);
  const bool rounded = on_cuda() && dtype == DType::bf16;
  return {alone, alone + (rounded ? 2 * unit_roundoff(dtype) * max_abs(logits.tensor) : 0)};
}

void compare_with_reference(DType dtype, std::int64_t rows, std::int64_t width,
                            std::int64_t vocabulary, std::size_t max_logit_bytes) {
  SCOPED_TRACE(fmt::format("{} N {} D {} V {} bytes {}", name_of(dtype), rows, width, vocabulary,
                           max_logit_bytes));
  const Problem p(dtype, rows, width, vocabulary);
  if (rows > 2) set(p.target.tensor, rows / 2, kIgnoreTarget);
  std::optional<OnCpu> judge(std::in_place);
  const Problem reference(p, DType::f64);
  reference.forward_backward(std::size_t{1} << 20);
  const LossTolerance allowed = loss_tolerance(reference, dtype);
  judge.reset();

  p.forward(max_logit_bytes);
  EXPECT_LE(max_difference(p.loss.tensor, reference.loss.tensor), allowed.loss_alone);
  fill(p.loss.tensor, -1);
  fill(p.dx.tensor, NAN);
  p.forward_backward(max_logit_bytes);
  EXPECT_LE(max_difference(p.loss.tensor, reference.loss.tensor), allowed.with_gradient);

  // A gradient of a logit is scale * (p - 1 or 0): p is exp of what is wrong by the loss's bound,
  // and rounded to the compute type; over the vocabulary their sizes sum to at most 2 scale, and
  // over the tokens to at most scale each.
  const double u = unit_roundoff(DType::f32);
  const double rounding = unit_roundoff(dtype);
  const auto relative = [&](std::int64_t terms) {
    return std::expm1(allowed.with_gradient) + rounding +
           6 * std::sqrt(static_cast<double>(terms) + 1) * u;
  };
  EXPECT_LE(max_difference(p.dx.tensor, reference.dx.tensor),
            2 * kScale * max_abs(p.weight.tensor) * relative(vocabulary) +
                rounding * max_abs(reference.dx.tensor));
  EXPECT_LE(max_difference(p.dweight.tensor, reference.dweight.tensor),
            kScale * static_cast<double>(rows) * max_abs(p.x.tensor) * relative(rows) +
                static_cast<double>(rows) * u * max_abs(reference.dweight.tensor));
}

TEST(LinearCrossEntropy, MatchesReference) {
  for (const DType dtype : judged_types()) {
    compare_with_reference(dtype, 1, 1, 1, 1);
    compare_with_reference(dtype, 5, 8, 37, 1);
    compare_with_reference(dtype, 13, 16, 129, 4 * 129 * 4);
    compare_with_reference(dtype, 9, 33, 1543, std::size_t{64} << 20);
    compare_with_reference(dtype, 2, 4, 5 * 8 * 512 + 3, 1);  // several packs a thread of a GPU
  }
}

TEST(LinearCrossEntropy, LeftOutRowsHaveNoLossAndNoGradient) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Problem p(dtype, 4, 8, 19);
    fill(p.target.tensor, kIgnoreTarget);
    const std::vector<double> before = values(p.dweight.tensor);
    fill(p.dx.tensor, 1);
    p.forward_backward(1 << 20);
    EXPECT_EQ(max_abs(p.loss.tensor), 0);
    EXPECT_EQ(max_abs(p.dx.tensor), 0);
    EXPECT_EQ(values(p.dweight.tensor), before);
  }
}

TEST(LinearCrossEntropy, LargeLogitsDoNotOverflow) {
  const Problem p(DType::f32, 2, 1, 3);
  for (std::int64_t n = 0; n < 2; ++n) set(p.x.tensor, n, n == 0 ? 1000 : -1000);
  for (std::int64_t v = 0; v < 3; ++v) set(p.weight.tensor, v, static_cast<double>(v));
  fill(p.target.tensor, 2);  // logits 0, 1000, 2000; then 0, -1000, -2000
  p.forward_backward(1 << 20);
  EXPECT_EQ(values(p.loss.tensor), (std::vector<double>{0, 2000}));
  EXPECT_EQ(get(p.dx.tensor, 0), 0);
  EXPECT_EQ(get(p.dx.tensor, 1), -2 * kScale);
}

TEST(LinearCrossEntropy, NonFiniteLogitsShow) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY),
                             -static_cast<double>(INFINITY)}) {
      const Problem p(dtype, 3, 1, 40);
      fill(p.x.tensor, 1);
      set(p.weight.tensor, 17, bad);
      fill(p.target.tensor, 5);
      set(p.target.tensor, 2, kIgnoreTarget);
      p.forward(1 << 20);
      EXPECT_TRUE(std::isnan(get(p.loss.tensor, 0))) << name_of(dtype) << " " << bad;
      fill(p.loss.tensor, 1);
      p.forward_backward(1 << 20);
      EXPECT_TRUE(std::isnan(get(p.loss.tensor, 1))) << name_of(dtype) << " " << bad;
      EXPECT_EQ(get(p.loss.tensor, 2), 0);
      EXPECT_TRUE(std::isnan(get(p.dx.tensor, 0))) << name_of(dtype) << " " << bad;
    }
  }
}

TEST(LinearCrossEntropy, RefusesBadArguments) {
  const Problem p(DType::f32, 3, 2, 4);
  set(p.target.tensor, 1, 4);
  if (on_cuda()) {
    p.forward(1 << 20);
    EXPECT_TRUE(std::isnan(get(p.loss.tensor, 1)));
    EXPECT_TRUE(std::isfinite(get(p.loss.tensor, 0)));
  } else {
    expect_error(
        [&] { p.forward(1 << 20); },
        "[linear_cross_entropy_forward] target 1 has id 4, expected 0 to 3, or -1 to leave "
        "it out");
    set(p.target.tensor, 1, -2);
    expect_error([&] { p.forward_backward(1 << 20); },
                 "[linear_cross_entropy_forward_backward] target 1 has id -2, expected 0 to 3");
  }
  const TestContext context;
  const TestTensor wide(DType::f32, {4, 3});
  expect_error(
      [&] {
        linear_cross_entropy_forward(context, p.x.tensor, wide.tensor, p.target.tensor,
                                     p.loss.tensor);
      },
      "[linear_cross_entropy_forward] expected x [N, D] and weight [V, D], got fp32[3, 2] and "
      "fp32[4, 3]");
  expect_error(
      [&] {
        linear_cross_entropy_forward(context, p.x.tensor, p.weight.tensor, p.loss.tensor,
                                     p.loss.tensor);
      },
      "[linear_cross_entropy_forward] target: expected int32[3], got fp32[3]");
  expect_error(
      [&] {
        linear_cross_entropy_forward_backward(context, p.x.tensor, p.weight.tensor, p.target.tensor,
                                              1, p.loss.tensor, p.dx.tensor, wide.tensor);
      },
      "[linear_cross_entropy_forward_backward] dweight: expected fp32[4, 2], got fp32[4, 3]");
}

TEST(LinearCrossEntropy, NoRowsIsNoWork) {
  const Problem p(DType::f32, 0, 2, 4);
  const std::vector<double> before = values(p.dweight.tensor);
  p.forward(1);
  p.forward_backward(1);
  EXPECT_EQ(values(p.dweight.tensor), before);
}

}  // namespace
}  // namespace gda::test
