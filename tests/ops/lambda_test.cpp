// The scalar lambda of a layer and its vectors.
#include "gda/ops/differential.h"
#include "support/op_test.h"

namespace gda::test {
namespace {

TEST(Lambda, IsTheFormulaAndItsGradients) {
  const TestContext context;
  for (const DType dtype : {DType::f64, DType::f32}) {
    for (const std::int64_t d : {1, 13, 128}) {
      SCOPED_TRACE(fmt::format("{} d={}", name_of(dtype), d));
      const TestTensor q1 = random_tensor("q1", dtype, {d}, 0.1);
      const TestTensor k1 = random_tensor("k1", dtype, {d}, 0.1);
      const TestTensor q2 = random_tensor("q2", dtype, {d}, 0.1);
      const TestTensor k2 = random_tensor("k2", dtype, {d}, 0.1);
      const LambdaVectors vectors{q1.tensor, k1.tensor, q2.tensor, k2.tensor};
      const TestTensor lambda(dtype, {1});
      lambda_forward(context, vectors, 0.2, lambda.tensor);
      const double e1 = std::exp(dot(q1.tensor, k1.tensor));
      const double e2 = std::exp(dot(q2.tensor, k2.tensor));
      // Computed in f64 and rounded once.
      const double u = unit_roundoff(dtype);
      EXPECT_NEAR(get(lambda.tensor, 0), e1 - e2 + 0.2, 8 * unit_roundoff(DType::f64) + u);

      const TestTensor dlambda(dtype, {1});
      set(dlambda.tensor, 0, 0.75);
      const TestTensor dq1(dtype, {d});
      const TestTensor dk1(dtype, {d});
      const TestTensor dq2(dtype, {d});
      const TestTensor dk2(dtype, {d});
      const LambdaVectors dvectors{dq1.tensor, dk1.tensor, dq2.tensor, dk2.tensor};
      lambda_backward(context, vectors, dlambda.tensor, dvectors);
      lambda_backward(context, vectors, dlambda.tensor, dvectors);  // accumulates
      for (std::int64_t j = 0; j < d; ++j) {
        const double allowed = 8 * u;
        EXPECT_NEAR(get(dq1.tensor, j), 1.5 * e1 * get(k1.tensor, j), allowed);
        EXPECT_NEAR(get(dk1.tensor, j), 1.5 * e1 * get(q1.tensor, j), allowed);
        EXPECT_NEAR(get(dq2.tensor, j), -1.5 * e2 * get(k2.tensor, j), allowed);
        EXPECT_NEAR(get(dk2.tensor, j), -1.5 * e2 * get(q2.tensor, j), allowed);
      }
    }
  }
}

TEST(Lambda, GradientsMatchFiniteDifferences) {
  const TestContext context;
  TestTensor vectors[4];
  TestTensor gradients[4];
  for (int i = 0; i < 4; ++i) {
    vectors[i] = random_tensor(fmt::format("vector {}", i), DType::f64, {7}, 0.3);
    gradients[i] = TestTensor(DType::f64, {7});
  }
  const LambdaVectors all{vectors[0].tensor, vectors[1].tensor, vectors[2].tensor,
                          vectors[3].tensor};
  const TestTensor lambda(DType::f64, {1});
  const TestTensor dlambda(DType::f64, {1});
  set(dlambda.tensor, 0, 1);
  lambda_backward(
      context, all, dlambda.tensor,
      {gradients[0].tensor, gradients[1].tensor, gradients[2].tensor, gradients[3].tensor});
  for (int i = 0; i < 4; ++i) {
    expect_gradient(vectors[i].tensor, gradients[i].tensor, [&] {
      lambda_forward(context, all, 0.8, lambda.tensor);
      return get(lambda.tensor, 0);
    });
  }
}

TEST(Lambda, RefusesBadArguments) {
  const TestContext context;
  const TestTensor v(DType::f32, {4});
  const TestTensor one(DType::f32, {1});
  const TestTensor half(DType::bf16, {4});
  const LambdaVectors good{v.tensor, v.tensor, v.tensor, v.tensor};
  expect_error(
      [&] {
        lambda_forward(context, {half.tensor, v.tensor, v.tensor, v.tensor}, 0, one.tensor);
      },
      "[lambda_forward] q1: expected fp64 or fp32, got bf16[4]");
  expect_error(
      [&] {
        lambda_forward(context, {v.tensor, v.tensor, v.tensor, one.tensor}, 0, one.tensor);
      },
      "[lambda_forward] k2: expected fp32[4], got fp32[1]");
  expect_error([&] { lambda_forward(context, good, 0, v.tensor); },
               "[lambda_forward] lambda: expected fp32[1], got fp32[4]");
  expect_error(
      [&] {
        lambda_backward(context, good, one.tensor, {v.tensor, one.tensor, v.tensor, v.tensor});
      },
      "[lambda_backward] dk1: expected fp32[4], got fp32[1]");
}

}  // namespace
}  // namespace gda::test
