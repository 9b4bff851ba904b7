// AdamW where parts of a parameter began later than the run.
#include <map>

#include "gda/ops/adamw.h"
#include "support/op_test.h"

namespace gda::test {
namespace {

constexpr AdamWStep kStep{.lr = 1e-2,
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = 1e-8,
                          .weight_decay = 0.1,
                          .gradient_scale = 0.5,
                          .step = 1000};

TestTensor origin_tensor(const std::vector<double>& values) {
  TestTensor owned(DType::i32, {static_cast<std::int64_t>(values.size())});
  set_values(owned.tensor, values);
  return owned;
}

// `size` coordinates, the last `grown` of which began at `origin`.
TestTensor grown_axis(std::int64_t size, std::int64_t grown, double origin) {
  std::vector<double> values(static_cast<std::size_t>(size), 0.0);
  std::fill(values.end() - grown, values.end(), origin);
  return origin_tensor(values);
}

// n elements of a parameter in the middle of training.
struct Piece {
  Piece(DType dtype, std::int64_t n)
      : gradient(random_tensor("gradient", dtype, {n})),
        master(random_tensor("master", dtype, {n})),
        m(random_tensor("m", dtype, {n}, 0.1)),
        v(random_tensor("v", dtype, {n})) {
    std::vector<double> squares = values(v.tensor);
    for (double& value : squares) value = 0.01 + value * value;
    set_values(v.tensor, squares);
  }
  void update(const AdamWStep& step, const Tensor& copy, const AdamWOrigins& origins) const {
    adamw_update(TestContext(), step, gradient.tensor, master.tensor, m.tensor, v.tensor, copy,
                 origins);
  }
  // The update that a run that began at this origin would do.
  std::vector<double> plain(const AdamWStep& step, std::int64_t origin) const {
    AdamWStep own = step;
    own.step = step.step - origin;
    const DType dtype = master.tensor.dtype();
    const TestTensor updated = cast(master.tensor, dtype);
    adamw_update(TestContext(), own, gradient.tensor, updated.tensor, cast(m.tensor, dtype).tensor,
                 cast(v.tensor, dtype).tensor, {});
    return values(updated.tensor);
  }

  TestTensor gradient, master, m, v;
};

struct Axes {
  std::int64_t rows, columns;
  bool grown_rows, grown_columns;
};

// Every element moves as one of a plain AdamW run that began at its origin, to the bit, wherever
// the piece begins and ends.
void expect_plain_updates(DType dtype, const Axes& axes, std::int64_t offset, std::int64_t n) {
  const TestTensor rows = grown_axis(axes.rows, axes.rows / 2, 700);
  const TestTensor columns = grown_axis(axes.columns, axes.columns / 3 + 1, 990);
  AdamWOrigins origins{.rows = {}, .columns = {}, .row_length = axes.columns, .offset = offset};
  if (axes.grown_rows) origins.rows = rows.tensor;
  if (axes.grown_columns) origins.columns = columns.tensor;
  const Piece piece(dtype, n);
  const std::vector<double> row_origins = values(rows.tensor);
  const std::vector<double> column_origins = values(columns.tensor);
  std::map<double, std::vector<double>> plain;  // by origin
  std::vector<double> expected;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t at = offset + i;
    double origin = 0;
    if (axes.grown_rows) origin = row_origins.at(static_cast<std::size_t>(at / axes.columns));
    if (axes.grown_columns) {
      origin = std::max(origin, column_origins.at(static_cast<std::size_t>(at % axes.columns)));
    }
    std::vector<double>& updated = plain[origin];
    if (updated.empty()) updated = piece.plain(kStep, static_cast<std::int64_t>(origin));
    expected.push_back(updated.at(static_cast<std::size_t>(i)));
  }
  piece.update(kStep, {}, origins);
  EXPECT_EQ(values(piece.master.tensor), expected)
      << name_of(dtype) << " " << axes.rows << "x" << axes.columns << " from " << offset;
}

TEST(AdamWOrigins, EveryElementCountsFromItsOwnBeginning) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    for (const bool rows : {false, true}) {
      for (const bool columns : {false, true}) {
        expect_plain_updates(dtype, {7, 13, rows, columns}, 0, 91);
        expect_plain_updates(dtype, {7, 13, rows, columns}, 17, 53);  // cut inside rows
        expect_plain_updates(dtype, {1, 37, rows, columns}, 5, 32);   // a vector is one row
        expect_plain_updates(dtype, {37, 1, rows, columns}, 5, 32);
        expect_plain_updates(dtype, {5, 4001, rows, columns}, 3, 20000);  // several cache pieces
      }
    }
  }
}

TEST(AdamWOrigins, CopiesAsPlainUpdatesDo) {
  const TestTensor rows = grown_axis(4, 1, 10);
  const TestTensor columns = grown_axis(2500, 500, 990);
  for (const DType type : {DType::bf16, DType::f32}) {
    for (const bool by_columns : {false, true}) {
      const AdamWOrigins origins{.rows = rows.tensor,
                                 .columns = by_columns ? columns.tensor : Tensor(),
                                 .row_length = 2500,
                                 .offset = 0};
      const Piece piece(DType::f32, 10000);
      const TestTensor copy(type, {10000});
      piece.update(kStep, copy.tensor, origins);
      EXPECT_EQ(max_difference(copy.tensor, cast(piece.master.tensor, type).tensor), 0);
    }
  }
}

// The first update of an element from zero moments is lr in size, or less by eps; with the count of
// the whole run it would be (1 - beta1) sqrt(1 - beta2^1000) / sqrt(1 - beta2) = 2.51 times that.
TEST(AdamWOrigins, AFirstUpdateMovesNothingFartherThanTheLearningRate) {
  AdamWStep step = kStep;
  step.weight_decay = 0;
  const TestTensor columns = grown_axis(64, 40, 999);
  const AdamWOrigins origins{.rows = {}, .columns = columns.tensor, .row_length = 64, .offset = 0};
  const double slack = 1 + 16 * unit_roundoff(DType::f32);  // operations of the update
  for (const bool counted : {true, false}) {
    const Piece piece(DType::f32, 640);
    for (const Tensor& x : {piece.master.tensor, piece.m.tensor, piece.v.tensor}) fill(x, 0);
    piece.update(step, {}, counted ? origins : AdamWOrigins{});
    const std::vector<double> moved = values(piece.master.tensor);
    double largest = 0;
    for (std::size_t i = 0; i < moved.size(); ++i) {
      if (i % 64 >= 24) largest = std::max(largest, std::abs(moved[i]));
    }
    if (counted) {
      EXPECT_LE(largest, step.lr * slack);
      EXPECT_GE(largest, 0.99 * step.lr);
    } else {
      EXPECT_GT(largest, 2.5 * step.lr);
    }
  }
}

TEST(AdamWOrigins, RefusesOriginsThatDoNotFit) {
  const Piece piece(DType::f32, 12);
  const TestTensor three = grown_axis(3, 1, 1);
  const TestTensor four = grown_axis(4, 1, 1);
  const TestTensor floats(DType::f32, {4});
  const auto refuse = [&](const AdamWOrigins& origins, const std::string& message) {
    expect_error([&] { piece.update(kStep, {}, origins); }, message);
  };
  refuse({.rows = {}, .columns = three.tensor, .row_length = 4, .offset = 0},
         "[adamw_update] origins.columns: expected int32[4], got int32[3]");
  refuse({.rows = floats.tensor, .columns = {}, .row_length = 4, .offset = 0},
         "[adamw_update] origins.rows: expected int32[4], got fp32[4]");
  refuse({.rows = three.tensor, .columns = four.tensor, .row_length = 4, .offset = 1},
         "[adamw_update] origins.rows: 3 rows of 4 elements end before element 13 of the piece");
  refuse({.rows = three.tensor, .columns = {}, .row_length = 0, .offset = 0},
         "[adamw_update] origins: expected a row length of 1 or more and an offset of 0 or more, "
         "got 0 and 0");
}

}  // namespace
}  // namespace gda::test
