#include "gda/ops/muon.h"

#include "support/op_test.h"

namespace gda::test {
namespace {

constexpr DType kWideTypes[] = {DType::f64, DType::f32};
// One element, fewer than a block of threads, and more than a piece of the CPU's loops.
constexpr std::int64_t kSizes[] = {1, 77, 8195};

// The types that may stand beside one of a wide type.
std::vector<DType> types_beside(DType wide) {
  if (wide == DType::f64) return {DType::f64};
  return {DType::f32, DType::bf16};
}

// From zero, momentum is the sum of mu^(t - i) g_i.
TEST(MomentumUpdate, FollowsTheClosedForm) {
  constexpr int kSteps = 4;
  constexpr double kMu = 0.95;
  constexpr double kScale = 0.25;
  const TestContext context;
  for (const DType dtype : kWideTypes) {
    for (const std::int64_t n : kSizes) {
      const TestTensor gradients = random_tensor("gradients", dtype, {kSteps, n});
      const std::vector<double> given = values(gradients.tensor);
      const TestTensor momentum(dtype, {n});
      for (int t = 0; t < kSteps; ++t) {
        momentum_update(context, kMu, kScale, gradients.tensor.rows(t, 1).reshape({n}),
                        momentum.tensor);
      }
      const std::vector<double> buffer = values(momentum.tensor);
      const std::vector<double> directions = values(gradients.tensor);
      // Constants, products and sums: at most four roundings a step, of terms of all steps.
      const double u = 4 * kSteps * unit_roundoff(dtype);
      for (std::int64_t i = 0; i < n; ++i) {
        double sum = 0;
        double magnitude = 0;
        for (int t = 0; t < kSteps; ++t) {
          const double g = kScale * given[static_cast<std::size_t>(t * n + i)];
          sum += std::pow(kMu, kSteps - 1 - t) * g;
          magnitude += std::abs(g);
        }
        const auto last = static_cast<std::size_t>((kSteps - 1) * n + i);
        ASSERT_NEAR(buffer[static_cast<std::size_t>(i)], sum, u * magnitude) << i;
        ASSERT_NEAR(directions[last], kScale * given[last] + kMu * sum, 2 * u * magnitude) << i;
      }
    }
  }
}

TEST(ScaleByNorm, IsTheFormula) {
  const TestContext context;
  for (const DType wide : kWideTypes) {
    for (const DType dtype : types_beside(wide)) {
      for (const std::int64_t n : kSizes) {
        const TestTensor x = random_tensor("x", wide, {n});
        const TestTensor y(dtype, {n});
        const TestTensor squares(DType::f64, {1});
        fill(squares.tensor, 6.25);
        scale_by_norm(context, 3, x.tensor, squares.tensor, 0.5, y.tensor);
        // The factor, the product and the result are rounded.
        const double u = unit_roundoff(dtype) + 3 * unit_roundoff(wide);
        for (std::int64_t i = 0; i < n; ++i) {
          ASSERT_NEAR(get(y.tensor, i), get(x.tensor, i), u * std::abs(get(x.tensor, i)));
        }
      }
    }
  }
}

TEST(ScaleByNorm, ZerosStayAndNaNSpreads) {
  const TestContext context;
  const TestTensor x(DType::f32, {3});
  const TestTensor squares(DType::f64, {1});
  scale_by_norm(context, 500, x.tensor, squares.tensor, 1e-7, x.tensor);
  EXPECT_EQ(values(x.tensor), std::vector<double>(3));
  fill(x.tensor, 1);
  fill(squares.tensor, NAN);
  scale_by_norm(context, 500, x.tensor, squares.tensor, 1e-7, x.tensor);
  for (const double value : values(x.tensor)) EXPECT_TRUE(std::isnan(value));
}

TEST(ApplyDirection, IsTheFormulaAndRoundsTheCopyOnce) {
  const TestContext context;
  for (const DType wide : kWideTypes) {
    for (const DType dtype : types_beside(wide)) {
      for (const std::int64_t n : kSizes) {
        const TestTensor x = random_tensor("x", dtype, {n});
        const TestTensor master = random_tensor("master", wide, {n});
        const TestTensor plain = cast(master.tensor, wide);
        const TestTensor copy(dtype, {n});
        const std::vector<double> before = values(master.tensor);
        apply_direction(context, 0.125, 0.3, x.tensor, master.tensor, copy.tensor);
        const double u = unit_roundoff(wide);
        for (std::int64_t i = 0; i < n; ++i) {
          const double kept = 0.875 * before[static_cast<std::size_t>(i)];
          const double moved = 0.3 * get(x.tensor, i);
          ASSERT_NEAR(get(master.tensor, i), kept - moved,
                      3 * u * (std::abs(kept) + std::abs(moved)));
        }
        EXPECT_EQ(max_difference(copy.tensor, cast(master.tensor, dtype).tensor), 0);
        apply_direction(context, 0.125, 0.3, x.tensor, plain.tensor, {});
        EXPECT_EQ(max_difference(plain.tensor, master.tensor), 0);
      }
    }
  }
}

// A piece that begins and ends inside rows; rows of factor 1 are not touched, not even a copy that
// was rounded in another way.
TEST(ScaleRows, ScalesThePieceOfEachRow) {
  constexpr std::int64_t kRows = 40;
  constexpr std::int64_t kWidth = 301;
  constexpr std::int64_t kOffset = 2 * kWidth + 17;
  constexpr std::int64_t kElements = 30 * kWidth;
  const TestContext context;
  for (const DType wide : kWideTypes) {
    for (const DType dtype : types_beside(wide)) {
      const TestTensor factors = random_tensor("factors", wide, {kRows});
      for (std::int64_t row = 0; row < kRows; row += 3) set(factors.tensor, row, 1);
      const TestTensor master = random_tensor("master", wide, {kElements});
      const std::vector<double> before = values(master.tensor);
      const TestTensor copy(dtype, {kElements});
      fill(copy.tensor, 7);
      scale_rows(context, factors.tensor, kWidth, kOffset, master.tensor, copy.tensor);
      const std::vector<double> after = values(master.tensor);
      const std::vector<double> rounded = values(copy.tensor);
      const TestTensor expected = cast(master.tensor, dtype);
      for (std::int64_t i = 0; i < kElements; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const std::int64_t row = (kOffset + i) / kWidth;
        // Exact in f64 for f32, so that it rounds as the operator does.
        const double product = get(factors.tensor, row) * before[at];
        ASSERT_EQ(after[at], wide == DType::f64 ? product : static_cast<float>(product)) << i;
        ASSERT_EQ(rounded[at], row % 3 == 0 ? 7 : detail::read(expected.tensor, i)) << i;
      }
    }
  }
}

TEST(Muon, RefusesBadArguments) {
  const TestContext context;
  const TestTensor x(DType::f32, {4});
  const TestTensor wide(DType::f64, {4});
  const TestTensor narrow(DType::bf16, {4});
  const TestTensor square(DType::f32, {2, 2});
  const TestTensor one(DType::f64, {1});
  expect_error([&] { momentum_update(context, 0.9, 1, narrow.tensor, narrow.tensor); },
               "[momentum_update] gradient: expected fp32 or fp64, got bf16[4]");
  expect_error([&] { momentum_update(context, 0.9, 1, x.tensor, wide.tensor); },
               "[momentum_update] momentum: expected fp32[4], got fp64[4]");
  expect_error([&] { scale_by_norm(context, 1, x.tensor, x.tensor, 0, x.tensor); },
               "[scale_by_norm] squares: expected fp64[1], got fp32[4]");
  expect_error([&] { scale_by_norm(context, 1, wide.tensor, one.tensor, 0, narrow.tensor); },
               "[scale_by_norm] y: expected fp64[4], got bf16[4]");
  expect_error([&] { apply_direction(context, 0, 1, square.tensor, square.tensor, {}); },
               "[apply_direction] master: expected a flat tensor, got fp32[2, 2]");
  expect_error([&] { apply_direction(context, 0, 1, wide.tensor, x.tensor, {}); },
               "[apply_direction] x: expected fp32[4], got fp64[4]");
  expect_error([&] { scale_rows(context, x.tensor, 2, 5, x.tensor, {}); },
               "[scale_rows] elements 5 to 9 do not lie in 4 rows of 2 elements");
  expect_error([&] { scale_rows(context, wide.tensor, 2, 0, x.tensor, {}); },
               "[scale_rows] factors: expected fp32[4], got fp64[4]");
}

}  // namespace
}  // namespace gda::test
