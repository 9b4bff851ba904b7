#include "gda/ops/differential.h"

#include <omp.h>

#include "gda/ops/rms_norm.h"
#include "support/op_test.h"

namespace gda::test {
namespace {

constexpr DType kTypes[] = {DType::f64, DType::f32, DType::bf16};

// All tensors of one call.
struct Differential {
  Differential(DType dtype, std::int64_t rows, DifferentialShape heads)
      : shape(heads),
        attended(random_tensor("attended", dtype, {rows, shape.heads() * shape.value_dim})),
        lambda(random_tensor("lambda", accumulate_type(dtype), {1}, 0.1, 0.5)),
        subln(random_tensor("subln", accumulate_type(dtype), {shape.value_dim}, 0.3, 1)),
        dy(random_tensor("dy", dtype, {rows, shape.signal_heads() * shape.value_dim})),
        y(dtype, dy.tensor.shape()),
        rho(accumulate_type(dtype), {rows, shape.signal_heads()}),
        dattended(dtype, attended.tensor.shape()),
        dsubln(accumulate_type(dtype), {shape.value_dim}),
        dlambda(accumulate_type(dtype), {1}),
        delta(accumulate_type(dtype), {rows, shape.heads()}) {}

  void take_inputs(const Differential& other) {
    attended = cast(other.attended.tensor, attended.tensor.dtype());
    lambda = cast(other.lambda.tensor, lambda.tensor.dtype());
    subln = cast(other.subln.tensor, subln.tensor.dtype());
    dy = cast(other.dy.tensor, dy.tensor.dtype());
  }

  void forward() const {
    differential_forward(context, shape, attended.tensor, lambda.tensor, subln.tensor, y.tensor,
                         rho.tensor);
  }
  void backward() const {
    differential_backward(context, shape, attended.tensor, lambda.tensor, subln.tensor, rho.tensor,
                          dy.tensor, dattended.tensor, dsubln.tensor, dlambda.tensor);
  }
  void backward_with_delta() const {
    differential_backward(context, shape, attended.tensor, lambda.tensor, subln.tensor, rho.tensor,
                          dy.tensor, dattended.tensor, dsubln.tensor, dlambda.tensor, delta.tensor);
  }

  DifferentialShape shape;
  TestContext context;
  TestTensor attended, lambda, subln, dy, y, rho, dattended, dsubln, dlambda, delta;
};

DifferentialShape heads(std::int64_t noise_heads, std::int64_t ratio, std::int64_t value_dim) {
  return {.noise_heads = noise_heads, .ratio = ratio, .value_dim = value_dim, .lambda_init = 0.3};
}

// Ratios and widths of the quick kernels' branches: whole vectors, remainders, single elements.
std::vector<DifferentialShape> all_shapes() {
  std::vector<DifferentialShape> shapes;
  for (const std::int64_t ratio : {1, 3, 4, 5}) {
    for (const std::int64_t value_dim : {1, 7, 26, 129, 256}) {
      shapes.push_back(heads(2, ratio, value_dim));
    }
  }
  return shapes;
}

std::string describe(DType dtype, const DifferentialShape& shape) {
  return fmt::format("{} ratio={} width={}", name_of(dtype), shape.ratio, shape.value_dim);
}

// A head's result in f32: a sum of n squares errs by about sqrt(n) u (its roundings are
// independent), and a dozen operations follow.
double head_error(std::int64_t n) {
  return (std::sqrt(static_cast<double>(n)) + 12) * unit_roundoff(DType::f32);
}

TEST(Differential, IsTheFormula) {
  const Differential op(DType::f64, 2, heads(2, 3, 4));
  op.forward();
  const auto at = [&](std::int64_t head, std::int64_t j) {
    return get(op.attended.tensor, 1 * 32 + head * 4 + j);  // row 1
  };
  for (std::int64_t i = 0; i < 6; ++i) {
    // Stripe: heads 0, 1, 2 and their noise head 3; heads 4, 5, 6 and their noise head 7.
    const std::int64_t signal = i < 3 ? i : i + 1;
    const std::int64_t noise = i < 3 ? 3 : 7;
    double difference[4];
    double sum = 0;
    for (std::int64_t j = 0; j < 4; ++j) {
      difference[j] = at(signal, j) - get(op.lambda.tensor, 0) * at(noise, j);
      sum += difference[j] * difference[j];
    }
    const double rho = 1 / std::sqrt(sum / 4 + 1e-5);
    EXPECT_NEAR(get(op.rho.tensor, 6 + i), rho, 1e-13);
    for (std::int64_t j = 0; j < 4; ++j) {
      EXPECT_NEAR(get(op.y.tensor, 24 + i * 4 + j),
                  0.7 * get(op.subln.tensor, j) * difference[j] * rho, 1e-13);
    }
  }
}

TEST(Differential, WithoutLambdaItIsScaledRmsNormOfTheSignal) {
  for (const DType dtype : kTypes) {
    const Differential op(dtype, 5, heads(1, 4, 26));
    fill(op.lambda.tensor, 0);
    fill(op.subln.tensor, 1);
    op.forward();
    const TestTensor signal(dtype, {5 * 4, 26});
    for (std::int64_t i = 0; i < signal.tensor.elements(); ++i) {
      const std::int64_t row = i / (4 * 26);
      set(signal.tensor, i, get(op.attended.tensor, row * 5 * 26 + i % (4 * 26)));
    }
    const TestTensor normed(dtype, signal.tensor.shape());
    const TestTensor rho(accumulate_type(dtype), {20});
    rms_norm_forward(op.context, signal.tensor, op.subln.tensor, op.shape.eps, normed.tensor,
                     rho.tensor);
    const double u = unit_roundoff(dtype);
    const double allowed = 2 * (u + 8 * unit_roundoff(accumulate_type(dtype)));
    for (std::int64_t i = 0; i < signal.tensor.elements(); ++i) {
      const double expected = 0.7 * get(normed.tensor, i);
      EXPECT_NEAR(get(op.y.tensor, i), expected, allowed * std::abs(expected));
    }
  }
}

TEST(Differential, GradientsMatchFiniteDifferences) {
  for (const DifferentialShape& shape : {heads(2, 1, 7), heads(1, 4, 6), heads(2, 3, 1)}) {
    SCOPED_TRACE(describe(DType::f64, shape));
    const Differential op(DType::f64, 2, shape);
    fill(op.dlambda.tensor, 99);  // overwritten
    op.forward();
    op.backward();
    const auto loss = [&] {
      op.forward();
      return dot(op.y.tensor, op.dy.tensor);
    };
    expect_gradient(op.attended.tensor, op.dattended.tensor, loss, {.step = 1e-4});
    expect_gradient(op.subln.tensor, op.dsubln.tensor, loss);
    expect_gradient(op.lambda.tensor, op.dlambda.tensor, loss, {.step = 1e-4});
  }
}

// Sizes of what is added up: rounding errors are relative to these, not to the results.
struct Sizes {
  double y = 0, dattended = 0, dsubln = 0, dlambda = 0;
};

// Adds one head, with |S| + |N| in place of S - lambda N and the size of everything else.
void add_head(const Differential& op, std::int64_t row, std::int64_t head, Sizes& sizes,
              std::vector<double>& dsubln) {
  const std::int64_t n = op.shape.value_dim;
  const std::int64_t group = head / op.shape.ratio;
  const std::int64_t signal = (row * op.shape.heads() + head + group) * n;
  const std::int64_t noise = (row * op.shape.heads() + group + (group + 1) * op.shape.ratio) * n;
  const std::int64_t out = row * op.shape.signal_heads() + head;
  const auto gradient = [&](std::int64_t j) { return std::abs(get(op.dy.tensor, out * n + j)); };
  const auto weight = [&](std::int64_t j) { return std::abs(get(op.subln.tensor, j)); };
  const double rho = get(op.rho.tensor, out);
  std::vector<double> normalised(static_cast<std::size_t>(n));
  double mean = 0;
  for (std::int64_t j = 0; j < n; ++j) {
    const double x = rho * (std::abs(get(op.attended.tensor, signal + j)) +
                            std::abs(get(op.attended.tensor, noise + j)));
    normalised[static_cast<std::size_t>(j)] = x;
    mean += weight(j) * gradient(j) * x / static_cast<double>(n);
  }
  for (std::int64_t j = 0; j < n; ++j) {
    const double x = normalised[static_cast<std::size_t>(j)];
    const double difference = rho * (weight(j) * gradient(j) + x * mean);
    sizes.y = std::max(sizes.y, weight(j) * x);
    sizes.dattended = std::max(sizes.dattended, difference);
    sizes.dlambda += difference * std::abs(get(op.attended.tensor, noise + j));
    dsubln[static_cast<std::size_t>(j)] += gradient(j) * x;
  }
}

Sizes sizes_of(const Differential& op) {
  Sizes sizes;
  std::vector<double> dsubln(static_cast<std::size_t>(op.shape.value_dim));
  for (std::int64_t row = 0; row < op.y.tensor.dim(0); ++row) {
    for (std::int64_t head = 0; head < op.shape.signal_heads(); ++head) {
      add_head(op, row, head, sizes, dsubln);
    }
  }
  sizes.dattended *= static_cast<double>(op.shape.ratio);  // dN sums so many
  sizes.dsubln = *std::max_element(dsubln.begin(), dsubln.end());
  return sizes;
}

TEST(Differential, QuickMatchesReference) {
  for (const DType dtype : judged_types()) {
    for (const DifferentialShape& shape : all_shapes()) {
      SCOPED_TRACE(describe(dtype, shape));
      const Differential quick(dtype, 19, shape);
      const OnCpu judge;
      Differential exact(DType::f64, 19, shape);
      exact.take_inputs(quick);
      for (const Differential* op : {&quick, static_cast<const Differential*>(&exact)}) {
        op->forward();
        op->backward();
      }
      const Sizes sizes = sizes_of(exact);
      const double u = unit_roundoff(dtype);
      // A head of two values may cancel to almost nothing, where rho magnifies every rounding
      // again.
      const double error = head_error(shape.value_dim) * std::max(1.0, sizes.y);
      EXPECT_LE(relative_difference(quick.rho.tensor, exact.rho.tensor), error);
      EXPECT_LE(max_difference(quick.y.tensor, exact.y.tensor),
                error * sizes.y + u * max_abs(exact.y.tensor));
      EXPECT_LE(max_difference(quick.dattended.tensor, exact.dattended.tensor),
                error * sizes.dattended + u * max_abs(exact.dattended.tensor));
      EXPECT_LE(max_difference(quick.dsubln.tensor, exact.dsubln.tensor), error * sizes.dsubln);
      EXPECT_LE(max_difference(quick.dlambda.tensor, exact.dlambda.tensor), error * sizes.dlambda);
      if (shape.value_dim >= 26) {  // the bounds mean something
        EXPECT_LT(error * sizes.dlambda, 0.02 * max_abs(exact.dattended.tensor) *
                                             std::sqrt(exact.dattended.tensor.elements()));
        EXPECT_LT(error * sizes.dsubln, 0.02 * max_abs(exact.dsubln.tensor));
      }
    }
  }
}

// Of the gradients as they are stored: in bf16, those of before rounding give sums that are off by
// about 2^-9 of a term times sqrt(n). A sum of n products errs by at most n u of its terms' sizes,
// and by less than 4 sqrt(n) u where roundings are independent.
TEST(Differential, DeltaIsOfTheStoredGradients) {
  for (const DType dtype : kTypes) {
    for (const DifferentialShape& shape : all_shapes()) {
      SCOPED_TRACE(describe(dtype, shape));
      const Differential op(dtype, 19, shape);
      op.forward();
      fill(op.delta.tensor, NAN);
      op.backward_with_delta();
      const std::int64_t n = shape.value_dim;
      const std::vector<double> out = values(op.attended.tensor);
      const std::vector<double> dout = values(op.dattended.tensor);
      const std::vector<double> delta = values(op.delta.tensor);
      const auto width = static_cast<double>(n);
      const double error =
          std::min(width, 4 * std::sqrt(width)) * unit_roundoff(accumulate_type(dtype));
      for (std::size_t head = 0; head < delta.size(); ++head) {
        double sum = 0;
        double size = 0;
        for (std::size_t j = head * n; j < (head + 1) * n; ++j) {
          sum += out[j] * dout[j];
          size += std::abs(out[j] * dout[j]);
        }
        ASSERT_NEAR(delta[head], sum, error * size) << head;
      }
      const Differential without(dtype, 19, shape);
      without.forward();
      without.backward();
      EXPECT_EQ(values(without.dattended.tensor), dout);
      EXPECT_EQ(values(without.dsubln.tensor), values(op.dsubln.tensor));
      EXPECT_EQ(values(without.dlambda.tensor), values(op.dlambda.tensor));
    }
  }
}

// Every warp of a GPU's blocks has two stripes, and some have three. Sums of 8,400 stripes' terms
// err by sqrt(8400) u = 92 u of their sizes' sum at most.
TEST(Differential, ManyStripes) {
  for (const DType dtype : judged_types()) {
    SCOPED_TRACE(name_of(dtype));
    const Differential quick(dtype, 4200, heads(2, 1, 8));
    const OnCpu judge;
    Differential exact(DType::f64, 4200, heads(2, 1, 8));
    exact.take_inputs(quick);
    for (const Differential* op : {&quick, static_cast<const Differential*>(&exact)}) {
      op->forward();
      op->backward();
    }
    const Sizes sizes = sizes_of(exact);
    const double u = unit_roundoff(dtype);
    const double of_head = head_error(8) * std::max(1.0, sizes.y);
    EXPECT_LE(max_difference(quick.y.tensor, exact.y.tensor),
              of_head * sizes.y + u * max_abs(exact.y.tensor));
    EXPECT_LE(max_difference(quick.dattended.tensor, exact.dattended.tensor),
              of_head * sizes.dattended + u * max_abs(exact.dattended.tensor));
    const double error = of_head + 92 * unit_roundoff(DType::f32);
    EXPECT_LE(max_difference(quick.dsubln.tensor, exact.dsubln.tensor), error * sizes.dsubln);
    EXPECT_LE(max_difference(quick.dlambda.tensor, exact.dlambda.tensor), error * sizes.dlambda);
    EXPECT_LT(error * sizes.dsubln, 0.02 * max_abs(exact.dsubln.tensor));
  }
}

TEST(Differential, ParameterGradients) {
  for (const DType dtype : kTypes) {
    const Differential op(dtype, 40, heads(2, 3, 129));  // enough for several threads
    op.forward();
    op.backward();
    const TestTensor once = cast(op.dsubln.tensor, DType::f64);
    const double dlambda = get(op.dlambda.tensor, 0);
    const int threads = omp_get_max_threads();
    omp_set_num_threads(threads == 1 ? 3 : 1);
    fill(op.dsubln.tensor, 0);
    op.backward();
    omp_set_num_threads(threads);
    EXPECT_EQ(max_difference(op.dsubln.tensor, once.tensor), 0) << "depends on threads";
    EXPECT_EQ(get(op.dlambda.tensor, 0), dlambda);
    op.backward();
    EXPECT_EQ(get(op.dlambda.tensor, 0), dlambda) << "dlambda overwrites";
    // dsubln accumulates: 80 * 3 more terms of size 1, or 10 partial sums, in another order.
    const double allowed = 240 * unit_roundoff(accumulate_type(dtype)) * max_abs(once.tensor);
    for (std::int64_t j = 0; j < 129; ++j) {
      EXPECT_NEAR(get(op.dsubln.tensor, j), 2 * get(once.tensor, j), allowed);
    }
  }
}

TEST(Differential, KeepsNanInItsGroup) {
  for (const DType dtype : kTypes) {
    const Differential op(dtype, 1, heads(2, 2, 13));
    set(op.attended.tensor, 2 * 13 + 5, NAN);  // the first group's noise head
    op.forward();
    for (std::int64_t i = 0; i < 4 * 13; ++i) {
      EXPECT_EQ(std::isnan(get(op.y.tensor, i)), i < 2 * 13);
    }
  }
}

TEST(Differential, TakesNoRows) {
  for (const DType dtype : kTypes) {
    const Differential op(dtype, 0, heads(2, 3, 8));
    fill(op.dlambda.tensor, 99);
    op.forward();
    op.backward();
    EXPECT_EQ(get(op.dlambda.tensor, 0), 0);
    EXPECT_EQ(max_abs(op.dsubln.tensor), 0);
  }
}

TEST(Differential, RefusesBadArguments) {
  const Differential op(DType::f32, 3, heads(2, 3, 4));
  const TestContext context;
  const auto forward = [&](const DifferentialShape& shape, const Tensor& attended,
                           const Tensor& lambda, const Tensor& subln, const Tensor& rho) {
    return [=, &context, &op] {
      differential_forward(context, shape, attended, lambda, subln, op.y.tensor, rho);
    };
  };
  const Tensor& attended = op.attended.tensor;
  const Tensor& lambda = op.lambda.tensor;
  const Tensor& subln = op.subln.tensor;
  const Tensor& rho = op.rho.tensor;
  expect_error(forward(heads(2, 0, 4), attended, lambda, subln, rho),
               "[differential_forward] noise_heads, ratio and value_dim: expected at least 1, got "
               "2, 0 and 4");
  expect_error(forward(heads(2, 4, 4), attended, lambda, subln, rho),
               "[differential_forward] attended: expected fp32[3, 40], got fp32[3, 32]");
  expect_error(forward(op.shape, lambda, lambda, subln, rho),
               "[differential_forward] attended: expected rows [N, heads * 2d], got fp32[1]");
  expect_error(forward(op.shape, attended, subln, subln, rho),
               "[differential_forward] lambda: expected fp32[1], got fp32[4]");
  expect_error(forward(op.shape, attended, lambda, lambda, rho),
               "[differential_forward] subln: expected fp32[4], got fp32[1]");
  expect_error(forward(op.shape, attended, lambda, subln, attended),
               "[differential_forward] rho: expected fp32[3, 6], got fp32[3, 32]");
  DifferentialShape negative = op.shape;
  negative.eps = -1;
  expect_error(forward(negative, attended, lambda, subln, rho),
               "[differential_forward] eps: expected a number of at least 0, got -1");
  expect_error(
      [&] {
        differential_backward(context, op.shape, attended, lambda, subln, rho, attended, attended,
                              subln, lambda);
      },
      "[differential_backward] dy: expected fp32[3, 24], got fp32[3, 32]");
  expect_error(
      [&] {
        differential_backward(context, op.shape, attended, lambda, subln, rho, op.dy.tensor,
                              attended, subln, subln);
      },
      "[differential_backward] dlambda: expected fp32[1], got fp32[4]");
  expect_error(
      [&] {
        differential_backward(context, op.shape, attended, lambda, subln, rho, op.dy.tensor,
                              op.dattended.tensor, op.dsubln.tensor, op.dlambda.tensor, rho);
      },
      "[differential_backward] delta: expected fp32[3, 8], got fp32[3, 6]");
}

}  // namespace
}  // namespace gda::test
