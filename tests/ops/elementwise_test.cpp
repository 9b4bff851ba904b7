#include "gda/ops/elementwise.h"

#include <omp.h>

#include <limits>

#include "support/op_test.h"

namespace gda::test {
namespace {

constexpr DType kComputeTypes[] = {DType::f64, DType::f32, DType::bf16};

TEST(FillZero, WholeAndStrided) {
  const TestContext context;
  for (const DType dtype : kComputeTypes) {
    const TestTensor x = random_tensor("x", dtype, {3, 5000});
    fill_zero(context, x.tensor.columns(1, 4997));
    for (std::int64_t i = 0; i < x.tensor.elements(); ++i) {
      const std::int64_t column = i % 5000;
      const bool outside = column == 0 || column >= 4998;
      ASSERT_EQ(get(x.tensor, i) != 0, outside) << i;
    }
    fill_zero(context, x.tensor);
    EXPECT_EQ(max_abs(x.tensor), 0);
  }
  fill_zero(context, TestTensor(DType::f32, {0, 4}).tensor);
}

TEST(FillZero, MoreRowsThanAGridHas) {
  const TestTensor x(DType::f32, {65535 + 2, 2});
  fill(x.tensor, 1);
  fill_zero(TestContext(), x.tensor.columns(0, 1));
  const std::vector<double> all = values(x.tensor);
  for (std::size_t i = 0; i < all.size(); ++i) {
    ASSERT_EQ(all[i], static_cast<double>(i % 2)) << i;
  }
}

TEST(FillZero, RefusesNoTensor) {
  expect_error([] { fill_zero(TestContext(), Tensor(nullptr, DType::f32, {4})); },
               "[fill_zero] x: expected fp32[4], got an empty tensor");
}

TEST(Convert, RoundsOnceToTheTarget) {
  const TestContext context;
  for (const DType from : kComputeTypes) {
    for (const DType to : kComputeTypes) {
      const TestTensor x = random_tensor("x", from, {9001});
      const TestTensor y(to, {9001});
      convert(context, x.tensor, y.tensor);
      EXPECT_EQ(max_difference(y.tensor, cast(x.tensor, to).tensor), 0)
          << name_of(from) << " to " << name_of(to);
    }
  }
}

TEST(Convert, TiesToEvenAndKeepsSpecialValues) {
  const TestContext context;
  // 1 + 2^-8 is half-way between bf16's 1 and 1 + 2^-7; 1 + 3 * 2^-8 between the latter and 1 +
  // 2^-6.
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> in{1 + 0x1p-8, 1 + 3 * 0x1p-8, -0.0, inf, -inf, 3.39e38};
  const std::vector<double> expected{1, 1 + 0x1p-6, -0.0, inf, -inf, 0x1.fep127};
  const TestTensor x(DType::f32, {7});
  const TestTensor y(DType::bf16, {7});
  for (std::size_t i = 0; i < in.size(); ++i) set(x.tensor, static_cast<std::int64_t>(i), in[i]);
  set(x.tensor, 6, NAN);
  convert(context, x.tensor, y.tensor);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double value = get(y.tensor, static_cast<std::int64_t>(i));
    EXPECT_EQ(value, expected[i]) << i;
    EXPECT_EQ(std::signbit(value), std::signbit(expected[i])) << i;
  }
  EXPECT_TRUE(std::isnan(get(y.tensor, 6)));
}

TEST(Convert, StridedRowsAndOtherShapes) {
  const TestContext context;
  const TestTensor x = random_tensor("x", DType::f32, {7, 11});
  const TestTensor y(DType::bf16, {7, 6});
  convert(context, x.tensor.columns(2, 6), y.tensor);
  EXPECT_EQ(max_difference(y.tensor, cast(x.tensor.columns(2, 6), DType::bf16).tensor), 0);
  const TestTensor flat(DType::f64, {77});
  convert(context, x.tensor, flat.tensor);
  EXPECT_EQ(values(flat.tensor), values(x.tensor));
  // A block of columns into another: what lies beside it stays.
  const TestTensor wide(DType::bf16, {7, 13});
  fill(wide.tensor, 5);
  convert(context, x.tensor.columns(2, 6), wide.tensor.columns(4, 6));
  EXPECT_EQ(values(wide.tensor.columns(4, 6)), values(y.tensor));
  for (const auto& [begin, count] : {std::pair(0, 4), std::pair(10, 3)}) {
    const std::vector<double> beside = values(wide.tensor.columns(begin, count));
    EXPECT_EQ(beside, std::vector<double>(beside.size(), 5));
  }
}

TEST(Convert, RefusesBadArguments) {
  const TestContext context;
  const TestTensor x(DType::f32, {4, 4});
  expect_error([&] { convert(context, x.tensor, TestTensor(DType::f32, {15}).tensor); },
               "[convert] expected as many elements on both sides, got fp32[4, 4] and fp32[15]");
  expect_error(
      [&] {
        convert(context, x.tensor, TestTensor(DType::i32, {4, 4}).tensor);
      },
      "[convert] expected fp64, fp32 or bf16, got int32[4, 4]");
  expect_error(
      [&] { convert(context, x.tensor.columns(0, 2), TestTensor(DType::f32, {8}).tensor); },
      "[convert] from: expected contiguous rows, got row stride 4 for fp32[4, 2]");
}

void expect_sum(DType dtype, const Shape& shape) {
  const TestTensor x = random_tensor("x", dtype, shape);
  const TestTensor y = random_tensor("y", dtype, shape);
  const TestTensor expected(dtype, shape);
  for (std::int64_t i = 0; i < x.tensor.elements(); ++i) {
    // The f64 sum of two f32 or bf16 numbers is exact enough that rounding it twice is harmless:
    // f32 rounds correctly from f64 (53 >= 2 * 24 + 2), and so does bf16 from f32.
    const double sum = get(x.tensor, i) + get(y.tensor, i);
    set(expected.tensor, i, dtype == DType::f64 ? sum : static_cast<float>(sum));
  }
  add(TestContext(), x.tensor, y.tensor);
  EXPECT_EQ(max_difference(y.tensor, expected.tensor), 0) << name_of(dtype) << shape.str();
}

TEST(Add, AddsAndRoundsOnce) {
  for (const DType dtype : kComputeTypes) {
    expect_sum(dtype, {3, 4099});
    expect_sum(dtype, {3, 4096});  // in packs on a GPU
  }
}

// Blocks of columns on either side, on 16 bytes and off them.
TEST(Add, StridedRows) {
  for (const DType dtype : kComputeTypes) {
    for (const auto& [x_begin, y_begin, width] : {std::tuple(8, 16, 32), std::tuple(3, 0, 7)}) {
      const TestTensor x = random_tensor("x", dtype, {9, 64});
      const TestTensor y = random_tensor("y", dtype, {9, 56});
      const Tensor from = x.tensor.columns(x_begin, width);
      const Tensor to = y.tensor.columns(y_begin, width);
      const TestTensor dense_from = cast(from, dtype);
      const TestTensor dense_to = cast(to, dtype);
      const std::vector<double> beside = values(y.tensor.columns(y_begin + width, 1));
      add(TestContext(), from, to);
      add(TestContext(), dense_from.tensor, dense_to.tensor);
      EXPECT_EQ(values(to), values(dense_to.tensor)) << name_of(dtype);
      EXPECT_NE(values(to), values(from)) << name_of(dtype);
      EXPECT_EQ(values(y.tensor.columns(y_begin + width, 1)), beside);
      // One side dense.
      const TestTensor again = cast(dense_to.tensor, dtype);
      add(TestContext(), from, again.tensor);
      add(TestContext(), dense_from.tensor, dense_to.tensor);
      EXPECT_EQ(values(again.tensor), values(dense_to.tensor)) << name_of(dtype);
    }
  }
}

TEST(Add, RefusesBadArguments) {
  const TestContext context;
  const TestTensor x(DType::f32, {4, 4});
  expect_error(
      [&] {
        add(context, x.tensor, TestTensor(DType::f32, {4, 5}).tensor);
      },
      "[add] y: expected fp32[4, 4], got fp32[4, 5]");
  expect_error(
      [&] {
        add(context, x.tensor, TestTensor(DType::bf16, {4, 4}).tensor);
      },
      "[add] y: expected fp32[4, 4], got bf16[4, 4]");
}

TEST(ScaleColumns, IsTheProduct) {
  const TestContext context;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const std::int64_t n : {1, 13, 4097}) {
      const TestTensor x = random_tensor("x", dtype, {3, n});
      const TestTensor column = random_tensor("column", accumulate_type(dtype), {n});
      const TestTensor expected(dtype, {3, n});
      for (std::int64_t i = 0; i < 3 * n; ++i) {
        // Exact in f64 for f32 and bf16 factors, so that f32 rounds as the operator does.
        const double product = get(column.tensor, i % n) * get(x.tensor, i);
        set(expected.tensor, i, dtype == DType::f64 ? product : static_cast<float>(product));
      }
      const TestTensor y(dtype, {3, n});
      scale_columns(context, x.tensor, column.tensor, y.tensor);
      EXPECT_EQ(max_difference(y.tensor, expected.tensor), 0) << name_of(dtype);
      scale_columns(context, x.tensor, column.tensor, x.tensor);
      EXPECT_EQ(max_difference(x.tensor, expected.tensor), 0) << name_of(dtype);
    }
  }
}

TEST(ScaleColumns, RefusesBadArguments) {
  const TestContext context;
  const TestTensor x(DType::f32, {4, 4});
  const TestTensor column(DType::f32, {4});
  expect_error([&] { scale_columns(context, column.tensor, column.tensor, x.tensor); },
               "[scale_columns] x: expected rows [N, M], got fp32[4]");
  expect_error([&] { scale_columns(context, x.tensor, x.tensor, x.tensor); },
               "[scale_columns] column: expected fp32[4], got fp32[4, 4]");
  expect_error([&] { scale_columns(context, x.tensor, column.tensor, column.tensor); },
               "[scale_columns] y: expected fp32[4, 4], got fp32[4]");
}

TEST(Axpby, IsTheSum) {
  const TestContext context;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const TestTensor x = random_tensor("x", dtype, {4099});
    const TestTensor y = random_tensor("y", dtype, {4099});
    const TestTensor before = cast(y.tensor, dtype);
    axpby(context, 0.25, x.tensor, 0.75, y.tensor);
    // Two products and a sum, then the rounding to the type.
    const double u = unit_roundoff(dtype) + 3 * unit_roundoff(accumulate_type(dtype));
    for (std::int64_t i = 0; i < 4099; ++i) {
      const double a = 0.25 * get(x.tensor, i);
      const double b = 0.75 * get(before.tensor, i);
      ASSERT_NEAR(get(y.tensor, i), a + b, u * (std::abs(a) + std::abs(b)));
    }
    axpby(context, 1, x.tensor, 0, y.tensor);
    EXPECT_EQ(max_difference(y.tensor, x.tensor), 0) << name_of(dtype);
  }
}

TEST(Axpby, RefusesBadArguments) {
  const TestContext context;
  const TestTensor x(DType::f32, {4, 4});
  expect_error(
      [&] {
        axpby(context, 1, x.tensor, 1, TestTensor(DType::f32, {4, 5}).tensor);
      },
      "[axpby] y: expected fp32[4, 4], got fp32[4, 5]");
}

// Values between 1 and 1 + 2^-7, neighbours in bf16.
TestTensor between_neighbours(std::int64_t n) {
  TestTensor x(DType::f32, {n});
  for (std::int64_t i = 0; i < n; ++i)
    set(x.tensor, i, 1 + 0x1p-7 * (static_cast<double>(i % 64) / 64));
  return x;
}

const Philox& rounding_noise() {
  static const Philox random(3, RandomPurpose::rounding, "weight");
  return random;
}

TEST(StochasticRound, IsAFunctionOfSeedDrawAndPlace) {
  const TestContext context;
  constexpr std::int64_t kElements = 1003;
  constexpr std::int64_t kOffset = 13;
  const TestTensor x = between_neighbours(kElements);
  const TestTensor y(DType::bf16, {kElements});
  stochastic_round(context, x.tensor, y.tensor, rounding_noise(), 9, kOffset);
  for (std::int64_t i = 0; i < kElements; ++i) {
    const auto noise = rounding_noise().half_word(9, static_cast<std::uint64_t>(kOffset + i));
    const auto value = static_cast<float>(get(x.tensor, i));
    ASSERT_EQ(get(y.tensor, i), static_cast<float>(stochastically_rounded(value, noise))) << i;
  }
  // Cut anywhere: the same.
  const TestTensor parts(DType::bf16, {kElements});
  for (const auto& [begin, count] :
       {std::pair<std::int64_t, std::int64_t>{0, 3}, {3, 500}, {503, 500}}) {
    stochastic_round(context, x.tensor.rows(begin, count), parts.tensor.rows(begin, count),
                     rounding_noise(), 9, kOffset + begin);
  }
  EXPECT_EQ(max_difference(parts.tensor, y.tensor), 0);
  stochastic_round(context, x.tensor, parts.tensor, rounding_noise(), 10, kOffset);
  EXPECT_GT(max_difference(parts.tensor, y.tensor), 0);
}

// Of n draws with probability p of the upper neighbour, whose mean has a standard deviation of
// sqrt(p (1 - p) / n): five of these.
TEST(StochasticRound, IsRightOnAverage) {
  const TestContext context;
  constexpr std::int64_t kElements = 64 * 4096;
  const TestTensor x = between_neighbours(kElements);
  const TestTensor y(DType::bf16, {kElements});
  stochastic_round(context, x.tensor, y.tensor, rounding_noise(), 1, 0);
  std::vector<double> ups(64);
  const std::vector<double> rounded = values(y.tensor);
  for (std::size_t i = 0; i < rounded.size(); ++i) {
    ASSERT_TRUE(rounded[i] == 1 || rounded[i] == 1 + 0x1p-7) << rounded[i];
    ups[i % 64] += rounded[i] > 1 ? 1 : 0;
  }
  for (std::size_t k = 0; k < ups.size(); ++k) {
    const double p = static_cast<double>(k) / 64;
    EXPECT_NEAR(ups[k] / 4096, p, 5 * std::sqrt(p * (1 - p) / 4096)) << k;
  }
}

TEST(StochasticRound, LeavesWhatIsExactOrNotFinite) {
  const TestContext context;
  const TestTensor x(DType::f32, {6});
  const std::vector<double> exact = {0, -1.5, 0x1p-130, -INFINITY, INFINITY, NAN};
  for (std::size_t i = 0; i < exact.size(); ++i)
    set(x.tensor, static_cast<std::int64_t>(i), exact[i]);
  const TestTensor y(DType::bf16, {6});
  stochastic_round(context, x.tensor, y.tensor, rounding_noise(), 1, 0);
  const std::vector<double> rounded = values(y.tensor);
  for (std::size_t i = 0; i + 1 < exact.size(); ++i) EXPECT_EQ(rounded[i], exact[i]);
  EXPECT_TRUE(std::isnan(rounded.back()));
}

TEST(StochasticRound, RefusesBadArguments) {
  const TestContext context;
  const TestTensor x(DType::f32, {4});
  expect_error([&] { stochastic_round(context, x.tensor, x.tensor, rounding_noise(), 0, 0); },
               "[stochastic_round] to: expected bf16[4], got fp32[4]");
}

double squares_of(const Context& context, const Tensor& x) {
  const TestTensor sum(DType::f64, {1});
  sum_of_squares(context, x, sum.tensor);
  return values(sum.tensor).front();
}

TEST(SumOfSquares, MatchesPlainSum) {
  const TestContext context;
  for (const DType dtype : {DType::f64, DType::f32}) {
    for (const std::int64_t n : {0, 1, 7, 4096, 4097, 70001, 600001}) {
      const TestTensor x = random_tensor("x", dtype, {n});
      double expected = 0;
      for (const double value : values(x.tensor)) expected += value * value;
      // n additions of positive terms, in f64, in either order.
      EXPECT_NEAR(squares_of(context, x.tensor), expected,
                  2 * static_cast<double>(n) * unit_roundoff(DType::f64) * expected)
          << n;
      if (n == 0) continue;
      const double first = get(x.tensor, 0);  // the others do not begin on 16 bytes
      EXPECT_NEAR(squares_of(context, x.tensor.rows(1, n - 1)), expected - first * first,
                  2 * static_cast<double>(n) * unit_roundoff(DType::f64) * expected)
          << n;
    }
  }
}

TEST(SumOfSquares, SameBitsWithAnyNumberOfThreads) {
  const TestContext context;
  const TestTensor x = random_tensor("x", DType::f32, {100003});
  const int threads = omp_get_max_threads();
  const double expected = squares_of(context, x.tensor);
  for (const int count : {1, 2, 3, 5}) {
    omp_set_num_threads(count);
    EXPECT_EQ(squares_of(context, x.tensor), expected) << count;
  }
  omp_set_num_threads(threads);
}

TEST(SumOfSquares, ShowsNonFiniteAndDoesNotOverflow) {
  const TestContext context;
  const TestTensor x(DType::f32, {5000});
  set(x.tensor, 4998, 3e38);  // its square is beyond f32
  EXPECT_NEAR(squares_of(context, x.tensor) / 9e76, 1, 1e-7);
  set(x.tensor, 4998, -INFINITY);
  EXPECT_TRUE(std::isinf(squares_of(context, x.tensor)));
  set(x.tensor, 4998, NAN);
  EXPECT_TRUE(std::isnan(squares_of(context, x.tensor)));
}

TEST(SumOfSquares, RefusesBadArguments) {
  const TestContext context;
  expect_error([&] { squares_of(context, TestTensor(DType::bf16, {4}).tensor); },
               "[sum_of_squares] expected fp32 or fp64, got bf16[4]");
  const TestTensor x(DType::f32, {4, 4});
  expect_error([&] { squares_of(context, x.tensor.columns(0, 2)); },
               "[sum_of_squares] x: expected contiguous rows, got row stride 4 for fp32[4, 2]");
}

}  // namespace
}  // namespace gda::test
