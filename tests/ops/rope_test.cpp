#include "gda/ops/rope.h"

#include <numbers>

#include "support/op_test.h"

namespace gda::test {
namespace {

// make_rope_table's on the test device.
TestTensor rope_table(double theta, const std::optional<RopeScaling>& scaling,
                      std::int64_t positions, std::int64_t head_dim, DType dtype) {
  const OwnedTensor table = make_rope_table(theta, scaling, positions, head_dim, dtype);
  return cast(table.tensor, dtype);
}

constexpr DType kTypes[] = {DType::f64, DType::f32, DType::bf16};

// Rotation of one pair by hand, in f64.
struct Pair {
  double first, second;
};
Pair turn(Pair v, double angle) {
  return {v.first * std::cos(angle) - v.second * std::sin(angle),
          v.second * std::cos(angle) + v.first * std::sin(angle)};
}

// The angle that the table holds for one position and dimension.
double angle_of(const Tensor& table, std::int64_t position, std::int64_t j) {
  const std::int64_t half = table.dim(2);
  const double cosine = get(table, position * half + j);
  const double sine = get(table, (table.dim(1) + position) * half + j);
  return std::atan2(sine, cosine);
}

TEST(RopeTable, FrequenciesFallGeometrically) {
  const TestTensor table = rope_table(10000, {}, 5, 8, DType::f64);
  EXPECT_EQ(table.tensor.shape(), Shape({2, 5, 4}));
  const double frequency[] = {1, 0.1, 0.01, 0.001};  // 10000^(-2j/8)
  for (std::int64_t p = 0; p < 5; ++p) {
    for (std::int64_t j = 0; j < 4; ++j) {
      const double angle = static_cast<double>(p) * frequency[j];
      EXPECT_NEAR(get(table.tensor, p * 4 + j), std::cos(angle), 1e-15);
      EXPECT_NEAR(get(table.tensor, (5 + p) * 4 + j), std::sin(angle), 1e-15);
    }
  }
}

TEST(RopeTable, F32IsTheF64TableRounded) {
  // Far positions too: angles are reduced in f64, so f32 loses nothing to them.
  const TestTensor exact = rope_table(500000, RopeScaling{}, 3001, 6, DType::f64);
  const TestTensor table = rope_table(500000, RopeScaling{}, 3001, 6, DType::f32);
  EXPECT_EQ(max_difference(table.tensor, cast(exact.tensor, DType::f32).tensor), 0);
}

TEST(RopeTable, Llama31Scaling) {
  // Llama 3.1 8B: theta 500000, head width 128, factor 8. With w = theta^(-2j/128) and wavelength
  // 2 pi / w: j <= 28 stays (wavelength below 8192 / 4), j >= 35 is 8 times slower (wavelength
  // above 8192), and between, s = (8192 / wavelength - 1) / 3 gives (1 - s) w / 8 + s w. Values
  // computed apart in f64; Hugging Face transformers has the same in f32 (largest relative
  // difference 3e-7).
  struct Expected {
    std::int64_t j;
    double frequency;
  };
  constexpr Expected kExpected[] = {{0, 1.0},
                                    {1, 0.8146172338565447},
                                    {28, 0.003211445994752591},
                                    {29, 0.002166570763503359},
                                    {31, 0.0008567514129196321},
                                    {34, 0.0001785078127679964},
                                    {35, 9.556212353964683e-05},
                                    {63, 3.068925988914511e-07}};
  const TestTensor table = rope_table(500000, RopeScaling{}, 2, 128, DType::f64);
  for (const Expected& expected : kExpected) {
    EXPECT_NEAR(angle_of(table.tensor, 1, expected.j), expected.frequency,
                1e-14 * expected.frequency)
        << expected.j;
  }
}

TEST(RopeTable, ScalingIsContinuousAtItsLimits) {
  // One dimension whose wavelength is just beside a limit: both formulas agree there.
  const double wavelength = 2 * std::numbers::pi;  // frequency 1 at j = 0
  for (const double turns : {1.0, 4.0}) {
    for (const double beside : {1 - 1e-12, 1 + 1e-12}) {
      const RopeScaling scaling{.factor = 8,
                                .low_freq_factor = 100 / wavelength / turns * beside,
                                .high_freq_factor = 400 / wavelength / turns * beside,
                                .original_max_position_embeddings = 100};
      const TestTensor table = rope_table(10, scaling, 2, 2, DType::f64);
      EXPECT_NEAR(angle_of(table.tensor, 1, 0), turns == 1 ? 0.125 : 1, 1e-11);
    }
  }
}

TEST(RopeTable, RefusesBadArguments) {
  const auto table = [](double theta, std::optional<RopeScaling> scaling, std::int64_t positions,
                        std::int64_t head_dim, DType dtype) {
    return [=] { make_rope_table(theta, scaling, positions, head_dim, dtype); };
  };
  expect_error(table(0, {}, 4, 8, DType::f32),
               "[make_rope_table] theta: expected more than 0, got 0");
  expect_error(table(1e4, {}, 0, 8, DType::f32),
               "[make_rope_table] positions: expected at least 1, got 0");
  expect_error(table(1e4, {}, 4, 7, DType::f32),
               "[make_rope_table] head_dim: expected an even number of at least 2, got 7");
  expect_error(table(1e4, {}, 4, 8, DType::bf16),
               "[make_rope_table] dtype: expected fp32 or fp64, got bf16");
  expect_error(table(1e4, RopeScaling{.factor = 0}, 4, 8, DType::f32),
               "[make_rope_table] factor: expected more than 0, got 0");
  expect_error(
      table(1e4, RopeScaling{.low_freq_factor = 4, .high_freq_factor = 4}, 4, 8, DType::f32),
      "[make_rope_table] expected 0 < low_freq_factor < high_freq_factor, got 4 and 4");
  expect_error(table(1e4, RopeScaling{.original_max_position_embeddings = 0}, 4, 8, DType::f32),
               "[make_rope_table] original_max_position_embeddings: expected at least 1, got 0");
}

// Columns of a wider matrix, `first` of which come before, and `after` behind.
void expect_turned_pairs(DType dtype, std::int64_t half, std::int64_t first, std::int64_t after) {
  SCOPED_TRACE(fmt::format("{} half={} first={}", name_of(dtype), half, first));
  const std::int64_t heads = 3;
  const std::int64_t rows = 11;
  const std::int64_t width = heads * 2 * half;
  const std::int64_t row_length = first + width + after;
  const TestTensor table = rope_table(100, {}, 20, 2 * half, accumulate_type(dtype));
  const TestTensor exact = rope_table(100, {}, 20, 2 * half, DType::f64);
  const TestTensor position = random_indices("position", {rows}, 20);
  const TestTensor fused = random_tensor("fused", dtype, {rows, row_length});
  const TestTensor before = cast(fused.tensor, DType::f64);
  const TestContext context;
  rope_forward(context, fused.tensor.columns(first, width), position.tensor, table.tensor);
  // Two products of rounded cosines and a sum, each wrong by u of f32; then rounding to dtype.
  const double allowed = max_abs(before.tensor) * std::numbers::sqrt2 *
                         (4 * unit_roundoff(accumulate_type(dtype)) + unit_roundoff(dtype));
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto old_at = [&](std::int64_t c) { return get(before.tensor, i * row_length + c); };
    const auto at = [&](std::int64_t c) { return get(fused.tensor, i * row_length + c); };
    for (const std::int64_t c : {std::int64_t{0}, first - 1, first + width, row_length - 1}) {
      ASSERT_EQ(at(c), old_at(c));
    }
    const auto p = static_cast<std::int64_t>(get(position.tensor, i));
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t j = 0; j < half; ++j) {
        const std::int64_t c = first + h * 2 * half + j;
        const Pair turned = turn({old_at(c), old_at(c + half)}, angle_of(exact.tensor, p, j));
        ASSERT_NEAR(at(c), turned.first, allowed);
        ASSERT_NEAR(at(c + half), turned.second, allowed);
      }
    }
  }
}

TEST(Rope, TurnsPairsInPlaceAndLeavesOtherColumns) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t half : {1, 7, 13, 64}) expect_turned_pairs(dtype, half, 2, 3);
    expect_turned_pairs(dtype, 64, 8, 16);  // rows begin on 16 bytes
    // A GPU's block goes round twice, pair by pair and in packs.
    expect_turned_pairs(dtype, 129, 2, 3);
    expect_turned_pairs(dtype, 704, 8, 16);
  }
}

TEST(Rope, PositionZeroIsTheIdentity) {
  for (const DType dtype : kTypes) {
    const TestTensor table = rope_table(1e4, {}, 2, 26, accumulate_type(dtype));
    const TestTensor position(DType::i32, {5});
    const TestTensor x = random_tensor("x", dtype, {5, 52});
    const TestTensor before = cast(x.tensor, dtype);
    rope_forward(TestContext(), x.tensor, position.tensor, table.tensor);
    EXPECT_EQ(max_difference(x.tensor, before.tensor), 0);
  }
}

TEST(Rope, BackwardInvertsForward) {
  for (const DType dtype : kTypes) {
    const std::int64_t rows = 300;  // enough for several threads
    const TestTensor table = rope_table(1e4, {}, 50, 26, accumulate_type(dtype));
    const TestTensor position = random_indices("position", {rows}, 50);
    const TestTensor x = random_tensor("x", dtype, {rows, 78});
    const TestTensor before = cast(x.tensor, dtype);
    const TestContext context;
    rope_forward(context, x.tensor, position.tensor, table.tensor);
    EXPECT_GT(max_difference(x.tensor, before.tensor), 0.1);
    rope_backward(context, x.tensor, position.tensor, table.tensor);
    // Two rotations as above; a pair's length, at most sqrt(2) of an element, is kept.
    const double each = 4 * unit_roundoff(accumulate_type(dtype)) + unit_roundoff(dtype);
    EXPECT_LE(max_difference(x.tensor, before.tensor), 4 * each * max_abs(before.tensor));
  }
}

TEST(Rope, GradientMatchesFiniteDifferences) {
  const TestTensor table = rope_table(100, {}, 9, 14, DType::f64);
  const TestTensor position = random_indices("position", {3}, 9);
  const TestTensor x = random_tensor("x", DType::f64, {3, 28});
  const TestTensor dy = random_tensor("dy", DType::f64, {3, 28});
  const TestTensor dx = cast(dy.tensor, DType::f64);
  const TestContext context;
  rope_backward(context, dx.tensor, position.tensor, table.tensor);
  expect_gradient(x.tensor, dx.tensor, [&] {
    const TestTensor y = cast(x.tensor, DType::f64);
    rope_forward(context, y.tensor, position.tensor, table.tensor);
    return dot(y.tensor, dy.tensor);
  });
}

TEST(Rope, KeepsNan) {
  for (const DType dtype : kTypes) {
    const TestTensor table = rope_table(1e4, {}, 4, 6, accumulate_type(dtype));
    const TestTensor x = random_tensor("x", dtype, {1, 6});
    const TestTensor position(DType::i32, {1});
    set(position.tensor, 0, 3);
    set(x.tensor, 1, NAN);
    rope_forward(TestContext(), x.tensor, position.tensor, table.tensor);
    for (std::int64_t j = 0; j < 6; ++j) EXPECT_EQ(std::isnan(get(x.tensor, j)), j % 3 == 1);
  }
}

TEST(Rope, RefusesBadArguments) {
  const TestContext context;
  const TestTensor table = rope_table(1e4, {}, 4, 8, DType::f32);
  const TestTensor x(DType::f32, {3, 16});
  const TestTensor position(DType::i32, {3});
  const auto forward = [&](const Tensor& t, const Tensor& p, const Tensor& values) {
    return [=, &context] { rope_forward(context, t, p, values); };
  };
  expect_error(forward(position.tensor, position.tensor, table.tensor),
               "[rope_forward] expected fp64, fp32 or bf16, got int32[3]");
  expect_error(forward(x.tensor, position.tensor, x.tensor),
               "[rope_forward] table: expected [2, positions, d/2] of make_rope_table, got "
               "fp32[3, 16]");
  expect_error(forward(x.tensor, position.tensor, rope_table(1e4, {}, 4, 8, DType::f64).tensor),
               "[rope_forward] table: expected fp32[2, 4, 4], got fp64[2, 4, 4]");
  expect_error(forward(x.tensor.columns(0, 12), position.tensor, table.tensor),
               "[rope_forward] x: expected rows [N, heads * 8] for this table's head width, got "
               "fp32[3, 12]");
  expect_error(forward(x.tensor, position.tensor.rows(0, 2), table.tensor),
               "[rope_forward] position: expected int32[3], got int32[2]");
  set(position.tensor, 1, 4);
  if (on_cuda()) {
    rope_forward(context, x.tensor, position.tensor, table.tensor);
    EXPECT_TRUE(std::isnan(get(x.tensor, 16)));
    EXPECT_EQ(max_abs(x.tensor.rows(0, 1)), 0);
    return;
  }
  expect_error(forward(x.tensor, position.tensor, table.tensor),
               "[rope_forward] position[1]: expected 0 to 3 (the table has 4 positions; make it "
               "longer for longer sequences), got 4");
  set(position.tensor, 1, -1);
  expect_error([&] { rope_backward(context, x.tensor, position.tensor, table.tensor); },
               "[rope_backward] position[1]: expected 0 to 3");
}

}  // namespace
}  // namespace gda::test
