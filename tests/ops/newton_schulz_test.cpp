#include "gda/ops/newton_schulz.h"

#include <numeric>

#include "support/op_test.h"

namespace gda::test {
namespace {

// Plain matrices, of columns side by side, and the iteration as its source writes it.
using Column = std::vector<double>;
using Columns = std::vector<Column>;

constexpr double kCoefficients[5][3] = {{4.0848, -6.8946, 2.9270},
                                        {3.9505, -6.3029, 2.6377},
                                        {3.7418, -5.5913, 2.3037},
                                        {2.8769, -3.1427, 1.2046},
                                        {2.8366, -3.0525, 1.2012}};

double product(const Column& x, const Column& y) {
  return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
}

Columns columns_of(const Tensor& tensor) {
  const auto rows = static_cast<std::size_t>(tensor.dim(0));
  const auto width = static_cast<std::size_t>(tensor.dim(1));
  const std::vector<double> all = values(tensor);
  Columns columns(width, Column(rows));
  for (std::size_t i = 0; i < all.size(); ++i) columns[i % width][i / width] = all[i];
  return columns;
}

void set_columns(const Tensor& tensor, const Columns& columns) {
  std::vector<double> all(static_cast<std::size_t>(tensor.elements()));
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = columns[i % columns.size()][i / columns.size()];
  }
  set_values(tensor, all);
}

double frobenius(const Columns& x) {
  double sum = 0;
  for (const Column& column : x) sum += product(column, column);
  return std::sqrt(sum);
}

// p after step `first` - 1, of a singular value.
double mapped(double x, int first = 0) {
  for (int k = first; k < 5; ++k) {
    const auto& [a, b, c] = kCoefficients[k];
    x = a * x + b * x * x * x + c * x * x * x * x * x;
  }
  return x;
}

double step_of(double x, int k) {
  const auto& [a, b, c] = kCoefficients[k];
  return a * x + b * x * x * x + c * x * x * x * x * x;
}

// Singular values, of the shorter side: one-sided Jacobi rotations until columns are orthogonal.
Column singular_values(const Tensor& tensor) {
  Columns x = columns_of(tensor);
  if (tensor.dim(0) < tensor.dim(1)) {
    const Columns wide = x;
    x.assign(wide[0].size(), Column(wide.size()));
    for (std::size_t i = 0; i < wide.size(); ++i) {
      for (std::size_t j = 0; j < wide[0].size(); ++j) x[j][i] = wide[i][j];
    }
  }
  for (int sweep = 0; sweep < 30; ++sweep) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      for (std::size_t j = i + 1; j < x.size(); ++j) {
        const double angle =
            0.5 * std::atan2(2 * product(x[i], x[j]), product(x[i], x[i]) - product(x[j], x[j]));
        for (std::size_t row = 0; row < x[i].size(); ++row) {
          const double left = x[i][row];
          x[i][row] = std::cos(angle) * left + std::sin(angle) * x[j][row];
          x[j][row] = std::cos(angle) * x[j][row] - std::sin(angle) * left;
        }
      }
    }
  }
  Column result;
  for (const Column& column : x) result.push_back(std::sqrt(product(column, column)));
  return result;
}

// `count` orthonormal columns: Gram-Schmidt, twice.
Columns orthonormal(std::string_view name, std::int64_t rows, std::int64_t count) {
  Columns columns = columns_of(random_tensor(name, DType::f64, {rows, count}).tensor);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    for (std::size_t j = 0; j < 2 * i; ++j) {
      const double share = product(columns[i], columns[j % i]);
      for (std::size_t row = 0; row < columns[i].size(); ++row) {
        columns[i][row] -= share * columns[j % i][row];
      }
    }
    const double length = std::sqrt(product(columns[i], columns[i]));
    for (double& value : columns[i]) value /= length;
  }
  return columns;
}

// U diag(sigma) V^T.
Columns compose(const Columns& u, const Column& sigma, const Columns& v) {
  Columns x(v[0].size(), Column(u[0].size()));
  for (std::size_t column = 0; column < x.size(); ++column) {
    for (std::size_t row = 0; row < x[0].size(); ++row) {
      for (std::size_t k = 0; k < sigma.size(); ++k) {
        x[column][row] += u[k][row] * sigma[k] * v[k][column];
      }
    }
  }
  return x;
}

// A matrix of known singular values, and what becomes of it.
struct Known {
  Known(std::int64_t rows, std::int64_t columns, const Column& sigma)
      : u(DType::f64, {rows, columns}), expected(DType::f64, {rows, columns}) {
    const auto rank = static_cast<std::int64_t>(sigma.size());
    const Columns left = orthonormal("left", rows, rank);
    const Columns right = orthonormal("right", columns, rank);
    const double norm = std::sqrt(product(sigma, sigma)) + 1e-7;
    Column after;
    for (const double value : sigma) {
      begin.push_back(value / norm);
      after.push_back(mapped(value / norm));
    }
    set_columns(u.tensor, compose(left, sigma, right));
    set_columns(expected.tensor, compose(left, after, right));
  }
  TestTensor u;
  TestTensor expected;
  Column begin;  // singular values of u / (its norm + eps)
};

// Of equal singular values, of a wide range, and of one alone.
Column spread(std::int64_t count, double largest, double smallest) {
  Column sigma;
  for (std::int64_t i = 0; i < count; ++i) {
    const double share = count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 0;
    sigma.push_back(largest * std::pow(smallest / largest, share));
  }
  return sigma;
}

constexpr std::int64_t kShapes[][2] = {{1, 1}, {1, 37}, {37, 1}, {12, 12}, {9, 33}, {70, 21}};

TEST(NewtonSchulz, MapsEachSingularValue) {
  const TestContext context;
  for (const auto& [rows, columns] : kShapes) {
    for (const double smallest : {1.0, 1e-2, 1e-5}) {
      const Known known(rows, columns, spread(std::min(rows, columns), 3, 3 * smallest));
      const TestTensor x(DType::f64, {rows, columns});
      newton_schulz(context, known.u.tensor, x.tensor);
      EXPECT_LE(max_difference(x.tensor, known.expected.tensor), 1e-12)
          << rows << " x " << columns << " from " << smallest;
    }
  }
}

// The steps as their source has them, on the matrix as it is or transposed.
Columns plain(const Columns& u) {
  Columns x = u;
  const double norm = frobenius(u) + 1e-7;
  for (Column& column : x) {
    for (double& value : column) value /= norm;
  }
  const std::size_t rows = u[0].size();
  const auto multiply = [](const Columns& left, const Columns& right) {
    Columns result(right.size(), Column(left[0].size()));
    for (std::size_t j = 0; j < right.size(); ++j) {
      for (std::size_t k = 0; k < left.size(); ++k) {
        for (std::size_t i = 0; i < left[0].size(); ++i) result[j][i] += left[k][i] * right[j][k];
      }
    }
    return result;
  };
  for (const auto& [a, b, c] : kCoefficients) {
    Columns transposed(rows, Column(x.size()));
    for (std::size_t j = 0; j < x.size(); ++j) {
      for (std::size_t i = 0; i < rows; ++i) transposed[i][j] = x[j][i];
    }
    // Both sides give the same X: A X is X (X^T X).
    const Columns gram = multiply(x, transposed);
    const Columns first = multiply(gram, x);
    const Columns second = multiply(gram, first);
    for (std::size_t j = 0; j < x.size(); ++j) {
      for (std::size_t i = 0; i < rows; ++i) {
        x[j][i] = a * x[j][i] + b * first[j][i] + c * second[j][i];
      }
    }
  }
  return x;
}

TEST(NewtonSchulz, IsTheFormula) {
  const TestContext context;
  for (const auto& [rows, columns] : kShapes) {
    const TestTensor u = random_tensor("u", DType::f64, {rows, columns}, 1e-3);
    const TestTensor x(DType::f64, {rows, columns});
    const TestTensor expected(DType::f64, {rows, columns});
    newton_schulz(context, u.tensor, x.tensor);
    set_columns(expected.tensor, plain(columns_of(u.tensor)));
    EXPECT_LE(max_difference(x.tensor, expected.tensor), 1e-12) << rows << " x " << columns;
    for (const double sigma : singular_values(x.tensor)) {
      EXPECT_GT(sigma, 0.85) << rows << " x " << columns;
      EXPECT_LT(sigma, 1.15) << rows << " x " << columns;
    }
  }
}

// How far a small change (in the Frobenius norm) of a matrix with these singular values before step
// k moves the result: the largest divided difference of the odd function that the steps from k on
// make of them (Daletskii and Krein), at +- all of them.
double amplification(const Column& sigma, int k) {
  double largest = 0;
  const auto slope = [&](double x, double y) {
    if (std::abs(x - y) < 1e-6) y = x + 1e-6;
    return std::abs((mapped(x, k) - mapped(y, k)) / (x - y));
  };
  for (const double x : sigma) {
    for (const double y : sigma) largest = std::max({largest, slope(x, y), slope(x, -y)});
    largest = std::max(largest, slope(x, 0));  // directions outside the matrix
  }
  return largest;
}

double norm_of_power(const Column& sigma, int power) {
  double sum = 0;
  for (const double value : sigma) sum += std::pow(value, 2 * power);
  return std::sqrt(sum);
}

// What the roundings of step k add, in the Frobenius norm: results are rounded to the type (u), and
// sums of n products in the accumulate type (w each).
double rounding(const Column& sigma, int k, double n, double u, double w) {
  const auto& [a, b, c] = kCoefficients[k];
  const double x = norm_of_power(sigma, 1);
  const double gram_norm = norm_of_power(sigma, 2);
  const double square_norm = norm_of_power(sigma, 4);
  const double largest = *std::max_element(sigma.begin(), sigma.end());
  const double gram = u * gram_norm + n * w * x * x;
  const double square = u * square_norm + n * w * gram_norm * gram_norm;
  double terms = 0;  // of b A + c A A, and their sum
  double sum = 0;
  double next = 0;
  for (const double value : sigma) {
    const double squared = value * value;
    terms += std::pow(c * squared * squared - b * squared, 2);
    sum += std::pow(c * squared * squared + b * squared, 2);
    next += std::pow(step_of(value, k), 2);
  }
  terms = std::sqrt(terms);
  sum = std::sqrt(sum);
  const double factor =
      -b * gram + c * (2 * largest * largest * gram + square) + u * sum + 3 * w * terms;
  // The product (rounded on a CPU) and its sum with X.
  return largest * factor + (u + n * w) * sum * largest + (u + w) * std::sqrt(next);
}

// First-order bound of all roundings; twice it leaves room for the rest.
double bound(Column sigma, std::int64_t rows, std::int64_t columns, DType dtype) {
  const double u = unit_roundoff(dtype);
  const double w = unit_roundoff(accumulate_type(dtype));
  const auto n = static_cast<double>(std::max(rows, columns));
  double total = (u + 3 * w) * norm_of_power(sigma, 1) * amplification(sigma, 0);
  for (int k = 0; k < 5; ++k) {
    const double added = rounding(sigma, k, n, u, w);
    for (double& value : sigma) value = step_of(value, k);
    total += added * amplification(sigma, k + 1);
  }
  return 2 * total;
}

TEST(NewtonSchulz, RoundsAsItsStepsDo) {
  const TestContext context;
  for (const DType dtype : judged_types()) {
    for (const auto& [rows, columns] : kShapes) {
      for (const double smallest : {1.0, 0.3}) {
        const Known known(rows, columns, spread(std::min(rows, columns), 3, 3 * smallest));
        const TestTensor u = cast(known.u.tensor, accumulate_type(dtype));
        const TestTensor x(dtype, {rows, columns});
        newton_schulz(context, u.tensor, x.tensor);
        Columns difference = columns_of(x.tensor);
        const Columns expected = columns_of(known.expected.tensor);
        for (std::size_t j = 0; j < expected.size(); ++j) {
          for (std::size_t i = 0; i < expected[0].size(); ++i) difference[j][i] -= expected[j][i];
        }
        const double allowed = bound(known.begin, rows, columns, dtype);
        EXPECT_LE(frobenius(difference), allowed)
            << name_of(dtype) << " " << rows << " x " << columns << " from " << smallest;
        // Whatever happened before, the last step draws singular values together again.
        Column last = known.begin;
        for (int k = 0; k < 4; ++k) {
          for (double& value : last) value = step_of(value, k);
        }
        const auto longest = static_cast<double>(std::max(rows, columns));
        const double room =
            2 * rounding(last, 4, longest, unit_roundoff(dtype), unit_roundoff(DType::f32));
        for (const double sigma : singular_values(x.tensor)) {
          EXPECT_GT(sigma, 0.85 - room) << name_of(dtype) << " " << rows << " x " << columns;
          EXPECT_LT(sigma, 1.15 + room) << name_of(dtype) << " " << rows << " x " << columns;
        }
      }
    }
  }
}

TEST(NewtonSchulz, LeavesWhatIsNotThere) {
  const TestContext context;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const TestTensor zero(accumulate_type(dtype), {5, 8});
    const TestTensor x = random_tensor("x", dtype, {5, 8});
    newton_schulz(context, zero.tensor, x.tensor);
    EXPECT_EQ(max_abs(x.tensor), 0) << name_of(dtype);
  }
  // Rank 3 of 10: the other singular values stay zero.
  const Known known(10, 14, {2, 1, 0.5});
  const TestTensor x(DType::f64, {10, 14});
  newton_schulz(context, known.u.tensor, x.tensor);
  EXPECT_LE(max_difference(x.tensor, known.expected.tensor), 1e-12);
  Column sigma = singular_values(x.tensor);
  std::sort(sigma.begin(), sigma.end());
  EXPECT_LT(sigma[6], 1e-12);
  EXPECT_GT(sigma[7], 0.85);
}

TEST(NewtonSchulz, NaNReachesEverything) {
  const TestContext context;
  for (const double bad : {NAN, INFINITY}) {
    const TestTensor u = random_tensor("u", DType::f32, {4, 9});
    const TestTensor x(DType::f32, {4, 9});
    set(u.tensor, 13, bad);
    newton_schulz(context, u.tensor, x.tensor);
    for (const double value : values(x.tensor)) EXPECT_TRUE(std::isnan(value));
  }
}

// A GPU's passes can be counted without being run.
TEST(NewtonSchulz, TakesTheScratchThatItSays) {
  if (!on_cuda()) GTEST_SKIP() << "a CPU's passes are not planned";
  Arena plan = Arena::plan(test_device());
  const Context counting{.stream = {.device = test_device()}, .arena = plan};
  const TestTensor u(DType::f64, {64, 32});
  const TestTensor x(DType::f64, {64, 32});
  newton_schulz(counting, u.tensor, x.tensor);
  const std::size_t said = x.tensor.bytes() + std::size_t{2 * 32 * 32 * 8};
  EXPECT_GE(plan.peak(), said);
  // Besides: the sum of squares, and what adding it up takes.
  EXPECT_LE(plan.peak(), said + (std::size_t{16} << 10));
}

TEST(NewtonSchulz, RefusesBadArguments) {
  const TestContext context;
  const TestTensor x(DType::bf16, {4, 4});
  expect_error([&] { newton_schulz(context, x.tensor, x.tensor); },
               "[newton_schulz] u: expected fp32[4, 4], got bf16[4, 4]");
  const TestTensor flat(DType::f32, {4});
  expect_error([&] { newton_schulz(context, flat.tensor, flat.tensor); },
               "[newton_schulz] x: expected a matrix, got fp32[4]");
}

}  // namespace
}  // namespace gda::test
