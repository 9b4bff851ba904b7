#include "gda/ops/matmul.h"

#include "gda/ops/elementwise.h"
#include "support/op_test.h"

namespace gda::test {
namespace {

// accumulate: to out; addend: another matrix is added.
struct Case {
  std::int64_t m, n, k;
  bool transpose_a, transpose_b, accumulate, addend;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{1, 1, 1},
                                {1, 37, 17},
                                {5, 1, 64},
                                {7, 64, 33},
                                {64, 48, 129},
                                {131, 67, 257}}) {
    for (int flags = 0; flags < 12; ++flags) {
      all.push_back({m, n, k, (flags & 1) != 0, (flags & 2) != 0, flags / 4 == 1, flags / 4 == 2});
    }
  }
  return all;
}

MatmulOptions options(const Case& c, const Tensor& addend) {
  return {.transpose_a = c.transpose_a,
          .transpose_b = c.transpose_b,
          .accumulate = c.accumulate,
          .addend = c.addend ? addend : Tensor()};
}

// A matrix of random numbers; `padding` extra elements separate its rows.
struct Strided {
  Strided(std::string_view name, DType dtype, std::int64_t rows, std::int64_t columns,
          std::int64_t padding)
      : owned(random_tensor(name, dtype, {rows, columns + padding})),
        tensor(owned.tensor.columns(0, columns)) {}
  TestTensor owned;
  Tensor tensor;
};

// Sums of k products of which each is rounded: the error of an element stays, but for a chance of
// 2 exp(-18), under 6 sqrt(k) u (|A| |B|)_ij (Higham and Mary 2019), to which comes the rounding of
// the result to its own type; with an addend also that of the product.
double tolerance(const Case& c, const Tensor& magnitude, DType out) {
  const double sum = 6 * std::sqrt(static_cast<double>(c.k) + 1) * unit_roundoff(DType::f32);
  return (sum + (c.addend ? 2 : 1) * unit_roundoff(out)) * max_abs(magnitude);
}

void compare_with_reference(const Case& c, DType in, DType out, std::int64_t padding) {
  SCOPED_TRACE(fmt::format("m {} n {} k {} ta {} tb {} accumulate {} addend {} {} to {} padding {}",
                           c.m, c.n, c.k, c.transpose_a, c.transpose_b, c.accumulate, c.addend,
                           name_of(in), name_of(out), padding));
  const TestContext context;
  const Strided a("a", in, c.transpose_a ? c.k : c.m, c.transpose_a ? c.m : c.k, padding);
  const Strided b("b", in, c.transpose_b ? c.n : c.k, c.transpose_b ? c.k : c.n, padding);
  const Strided result("out", out, c.m, c.n, padding);
  const Strided addend("addend", out, c.m, c.n, padding == 0 ? 0 : padding + 2);
  const TestTensor before = cast(result.owned.tensor, DType::f64);
  const TestTensor expected = cast(result.tensor, DType::f64);
  const TestTensor magnitude = absolute(result.tensor);
  matmul(context, cast(a.tensor, DType::f64).tensor, cast(b.tensor, DType::f64).tensor,
         expected.tensor, options(c, cast(addend.tensor, DType::f64).tensor));
  matmul(context, absolute(a.tensor).tensor, absolute(b.tensor).tensor, magnitude.tensor,
         options(c, absolute(addend.tensor).tensor));
  const TestTensor added = cast(addend.tensor, DType::f64);
  matmul(context, a.tensor, b.tensor, result.tensor, options(c, addend.tensor));
  EXPECT_LE(max_difference(result.tensor, expected.tensor), tolerance(c, magnitude.tensor, out));
  EXPECT_EQ(max_difference(addend.tensor, added.tensor), 0);
  // Between the rows nothing was written.
  if (padding > 0) {
    EXPECT_EQ(max_difference(result.owned.tensor.columns(c.n, padding),
                             before.tensor.columns(c.n, padding)),
              0);
  }
}

TEST(Matmul, ReferenceMultipliesByHand) {
  const TestContext context;
  const TestTensor a(DType::f64, {2, 3});
  const TestTensor b(DType::f64, {3, 2});
  const TestTensor out(DType::f64, {2, 2});
  for (std::int64_t i = 0; i < 6; ++i) set(a.tensor, i, static_cast<double>(i + 1));
  for (std::int64_t i = 0; i < 6; ++i) set(b.tensor, i, static_cast<double>(i - 2));
  matmul(context, a.tensor, b.tensor, out.tensor);
  EXPECT_EQ(values(out.tensor), (std::vector<double>{4, 10, 4, 19}));
  matmul(context, a.tensor, a.tensor, out.tensor, {.transpose_b = true, .accumulate = true});
  EXPECT_EQ(values(out.tensor), (std::vector<double>{18, 42, 36, 96}));
  const TestTensor other(DType::f64, {2, 2});
  matmul(context, a.tensor, b.tensor, other.tensor, {.addend = out.tensor});
  EXPECT_EQ(values(other.tensor), (std::vector<double>{22, 52, 40, 115}));
}

TEST(Matmul, ReferenceTransposes) {
  const TestContext context;
  const TestTensor a = random_tensor("a", DType::f64, {5, 3});
  const TestTensor b = random_tensor("b", DType::f64, {5, 4});
  const TestTensor out(DType::f64, {3, 4});
  matmul(context, a.tensor, b.tensor, out.tensor, {.transpose_a = true});
  const TestTensor swapped(DType::f64, {4, 3});
  matmul(context, b.tensor, a.tensor, swapped.tensor, {.transpose_a = true});
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t j = 0; j < 4; ++j) {
      double sum = 0;
      double magnitude = 0;
      for (std::int64_t p = 0; p < 5; ++p) {
        const double product = get(a.tensor, p * 3 + i) * get(b.tensor, p * 4 + j);
        sum += product;
        magnitude += std::abs(product);
      }
      // Sums of n products in any order, fused or not: each is off by at most n u sum |product|.
      const double error = 2 * 5 * unit_roundoff(DType::f64) * magnitude;
      EXPECT_NEAR(get(out.tensor, i * 4 + j), sum, error);
      EXPECT_NEAR(get(swapped.tensor, j * 3 + i), sum, error);
    }
  }
}

TEST(Matmul, F32MatchesReference) {
  for (const Case& c : cases()) {
    compare_with_reference(c, DType::f32, DType::f32, 0);
    compare_with_reference(c, DType::f32, DType::f32, 5);
  }
}

TEST(Matmul, Bf16MatchesReference) {
  for (const Case& c : cases()) {
    for (const DType out : {DType::bf16, DType::f32}) {
      compare_with_reference(c, DType::bf16, out, 0);
      compare_with_reference(c, DType::bf16, out, 5);
    }
  }
}

TEST(Matmul, ACpuAddsAfterTheProduct) {
  if (on_cuda()) GTEST_SKIP() << "a GPU's product adds on its way";
  const TestContext context;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const TestTensor x = random_tensor("x", dtype, {33, 70});
    const TestTensor weight = random_tensor("w", dtype, {50, 70});
    const TestTensor residual = random_tensor("h", dtype, {33, 50});
    const TestTensor in_two(dtype, {33, 50});
    const TestTensor out(dtype, {33, 50});
    matmul(context, x.tensor, weight.tensor, in_two.tensor, {.transpose_b = true});
    add(context, residual.tensor, in_two.tensor);
    matmul(context, x.tensor, weight.tensor, out.tensor,
           {.transpose_b = true, .addend = residual.tensor});
    EXPECT_EQ(values(out.tensor), values(in_two.tensor)) << name_of(dtype);
  }
}

TEST(Matmul, GradientsOfLinearLayer) {
  const TestContext context;
  const TestTensor x = random_tensor("x", DType::f64, {4, 5});
  const TestTensor weight = random_tensor("w", DType::f64, {3, 5});
  const TestTensor dy = random_tensor("dy", DType::f64, {4, 3});
  const TestTensor y(DType::f64, {4, 3});
  const TestTensor dx(DType::f64, {4, 5});
  const TestTensor dweight(DType::f64, {3, 5});
  matmul(context, dy.tensor, weight.tensor, dx.tensor);
  matmul(context, dy.tensor, x.tensor, dweight.tensor, {.transpose_a = true, .accumulate = true});
  const auto loss = [&] {
    matmul(context, x.tensor, weight.tensor, y.tensor, {.transpose_b = true});
    return dot(y.tensor, dy.tensor);
  };
  expect_gradient(x.tensor, dx.tensor, loss);
  expect_gradient(weight.tensor, dweight.tensor, loss);
}

TEST(Matmul, EmptyOutAndEmptyInner) {
  const TestContext context;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const TestTensor some = random_tensor("some", dtype, {3, 4});
    const TestTensor none(dtype, {0, 4});
    matmul(context, none.tensor, some.tensor, TestTensor(dtype, {0, 3}).tensor,
           {.transpose_b = true});
    const TestTensor out = random_tensor("out", dtype, {4, 4});
    const std::vector<double> before = values(out.tensor);
    matmul(context, none.tensor, none.tensor, out.tensor,
           {.transpose_a = true, .accumulate = true});
    EXPECT_EQ(values(out.tensor), before);
    matmul(context, none.tensor, none.tensor, out.tensor, {.transpose_a = true});
    EXPECT_EQ(max_abs(out.tensor), 0);
    const TestTensor addend = random_tensor("addend", dtype, {4, 4});
    matmul(context, none.tensor, none.tensor, out.tensor,
           {.transpose_a = true, .addend = addend.tensor});
    EXPECT_EQ(values(out.tensor), values(addend.tensor));
  }
}

TEST(Matmul, OverwritesNaN) {
  const TestContext context;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const TestTensor x = random_tensor("x", dtype, {8, 8});
    const TestTensor out(dtype, {8, 8});
    fill(out.tensor, NAN);
    matmul(context, x.tensor, x.tensor, out.tensor);
    EXPECT_FALSE(std::isnan(max_abs(out.tensor))) << name_of(dtype);
    fill(out.tensor, NAN);
    matmul(context, x.tensor, x.tensor, out.tensor, {.addend = x.tensor});
    EXPECT_FALSE(std::isnan(max_abs(out.tensor))) << name_of(dtype);
  }
}

TEST(Matmul, RefusesBadArguments) {
  const TestContext context;
  const TestTensor a(DType::f32, {2, 3});
  const TestTensor b(DType::f32, {4, 5});
  const TestTensor out(DType::f32, {2, 5});
  expect_error([&] { matmul(context, a.tensor, b.tensor, out.tensor); },
               "[matmul] inner sizes differ: op(a) is [2, 3], op(b) is [4, 5]");
  expect_error([&] { matmul(context, a.tensor, b.tensor, out.tensor, {.transpose_a = true}); },
               "[matmul] inner sizes differ: op(a) is [3, 2], op(b) is [4, 5]");
  expect_error([&] { matmul(context, a.tensor, TestTensor(DType::f32, {3}).tensor, out.tensor); },
               "[matmul] expected two matrices, got a = fp32[2, 3] and b = fp32[3]");
  expect_error(
      [&] {
        matmul(context, a.tensor, TestTensor(DType::f32, {3, 4}).tensor, out.tensor);
      },
      "[matmul] out: expected fp32[2, 4], got fp32[2, 5]");
  expect_error(
      [&] {
        matmul(context, a.tensor, TestTensor(DType::bf16, {3, 5}).tensor, out.tensor);
      },
      "[matmul] b: expected fp32[3, 5], got bf16[3, 5]");
  expect_error(
      [&] {
        matmul(context, a.tensor, TestTensor(DType::f32, {3, 5}).tensor,
               TestTensor(DType::bf16, {2, 5}).tensor);
      },
      "[matmul] out: expected fp32[2, 5], got bf16[2, 5]");
  expect_error(
      [&] {
        matmul(context, TestTensor(DType::i32, {2, 3}).tensor, a.tensor, out.tensor);
      },
      "[matmul] expected fp64, fp32 or bf16, got int32[2, 3]");
  const TestTensor right(DType::f32, {3, 5});
  expect_error([&] { matmul(context, a.tensor, right.tensor, out.tensor, {.addend = a.tensor}); },
               "[matmul] addend: expected fp32[2, 5], got fp32[2, 3]");
  expect_error(
      [&] {
        const TestTensor addend(DType::f32, {2, 5});
        matmul(context, a.tensor, right.tensor, out.tensor,
               {.accumulate = true, .addend = addend.tensor});
      },
      "[matmul] addend: expected none where the product accumulates, got fp32[2, 5]");
}

TEST(Matmul, RefusesTensorsOfAnotherDevice) {
  Arena arena;
  const Device other{DeviceType::cuda, 1};
  const Context context{.stream = {.device = other}, .arena = arena};
  const TestTensor x(DType::f32, {1, 1});
  expect_error([&] { matmul(context, x.tensor, x.tensor, x.tensor); },
               "[matmul] a: expected on cuda:1, got on " + test_device().str());
}

}  // namespace
}  // namespace gda::test
