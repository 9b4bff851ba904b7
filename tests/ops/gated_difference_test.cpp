// Differential attention V2's combination of heads.
#include "gda/ops/differential.h"
#include "support/op_test.h"

namespace gda::test {
namespace {

constexpr DType kTypes[] = {DType::f64, DType::f32, DType::bf16};
constexpr std::int64_t kHeads = 3;

// All tensors of one call; the gate and its gradient are columns of wider rows.
struct GatedDifference {
  GatedDifference(DType dtype, std::int64_t rows, std::int64_t width)
      : n(width),
        attended(random_tensor("attended", dtype, {rows, 2 * kHeads * n})),
        fused(random_tensor("fused", dtype, {rows, kHeads + 4})),
        dout(random_tensor("dout", dtype, {rows, kHeads * n})),
        out(dtype, {rows, kHeads * n}),
        dattended(dtype, attended.tensor.shape()),
        dfused(dtype, fused.tensor.shape()) {}

  void take_inputs(const GatedDifference& other) {
    attended = cast(other.attended.tensor, attended.tensor.dtype());
    fused = cast(other.fused.tensor, fused.tensor.dtype());
    dout = cast(other.dout.tensor, dout.tensor.dtype());
  }

  Tensor gate() const { return fused.tensor.columns(4, kHeads); }
  Tensor dgate() const { return dfused.tensor.columns(4, kHeads); }
  void forward() const { gated_difference_forward(context, attended.tensor, gate(), out.tensor); }
  void backward() const {
    gated_difference_backward(context, attended.tensor, gate(), dout.tensor, dattended.tensor,
                              dgate());
  }

  std::int64_t n;
  TestContext context;
  TestTensor attended, fused, dout, out, dattended, dfused;
};

TEST(GatedDifference, IsTheFormula) {
  const GatedDifference op(DType::f64, 2, 5);
  op.forward();
  for (std::int64_t row = 0; row < 2; ++row) {
    for (std::int64_t head = 0; head < kHeads; ++head) {
      const double s = 1 / (1 + std::exp(-get(op.gate(), row * kHeads + head)));
      for (std::int64_t j = 0; j < 5; ++j) {
        const std::int64_t at = row * 2 * kHeads * 5 + head * 10 + j;
        EXPECT_NEAR(get(op.out.tensor, (row * kHeads + head) * 5 + j),
                    get(op.attended.tensor, at) - s * get(op.attended.tensor, at + 5), 1e-15);
      }
    }
  }
}

TEST(GatedDifference, GradientsMatchFiniteDifferences) {
  const GatedDifference op(DType::f64, 3, 7);
  op.backward();
  const auto loss = [&] {
    op.forward();
    return dot(op.out.tensor, op.dout.tensor);
  };
  expect_gradient(op.attended.tensor, op.dattended.tensor, loss);
  expect_gradient(op.gate(), op.dgate(), loss);
}

TEST(GatedDifference, QuickMatchesReference) {
  for (const DType dtype : judged_types()) {
    for (const std::int64_t n : {1, 7, 13, 128, 129, 520}) {
      SCOPED_TRACE(fmt::format("{} n={}", name_of(dtype), n));
      const GatedDifference quick(dtype, 61, n);
      const OnCpu judge;
      GatedDifference exact(DType::f64, 61, n);
      exact.take_inputs(quick);
      for (const GatedDifference* op : {&quick, static_cast<const GatedDifference*>(&exact)}) {
        op->forward();
        op->backward();
      }
      // exp within 2 ulp = 4 u and four more operations, then rounding to dtype; dgate is a sum of
      // n terms, wrong by about sqrt(n) u of their sizes' sum.
      const double u = unit_roundoff(dtype);
      const double error = 8 * unit_roundoff(DType::f32);
      const double a = max_abs(exact.attended.tensor);
      const double g = max_abs(exact.dout.tensor);
      EXPECT_LE(max_difference(quick.out.tensor, exact.out.tensor), 2 * (error + u) * a);
      EXPECT_LE(max_difference(quick.dattended.tensor, exact.dattended.tensor), (error + u) * g);
      const double root = std::sqrt(static_cast<double>(n));
      EXPECT_LE(max_difference(quick.dgate(), exact.dgate()),
                (8 + root) * unit_roundoff(DType::f32) * 0.25 * a * g * static_cast<double>(n) +
                    u * max_abs(exact.dgate()));
      // The rest of the fused row is left alone.
      EXPECT_EQ(max_abs(quick.dfused.tensor.columns(0, 4)), 0);
    }
  }
}

TEST(GatedDifference, ClosedGateIsTheFirstHead) {
  for (const DType dtype : kTypes) {
    const GatedDifference op(dtype, 2, 13);
    fill(op.gate(), -200);
    op.forward();
    for (std::int64_t i = 0; i < op.out.tensor.elements(); ++i) {
      EXPECT_EQ(get(op.out.tensor, i), get(op.attended.tensor, i / 13 * 26 + i % 13));
    }
  }
}

TEST(GatedDifference, KeepsNanAndTakesNoRows) {
  for (const DType dtype : kTypes) {
    const GatedDifference op(dtype, 1, 13);
    set(op.gate(), 1, NAN);
    op.forward();
    for (std::int64_t i = 0; i < kHeads * 13; ++i) {
      EXPECT_EQ(std::isnan(get(op.out.tensor, i)), i / 13 == 1);
    }
    const GatedDifference none(dtype, 0, 13);
    none.forward();
    none.backward();
  }
}

TEST(GatedDifference, RefusesBadArguments) {
  const TestContext context;
  const TestTensor attended(DType::f32, {3, 24});
  const TestTensor gate(DType::f32, {3, 4});
  const TestTensor out(DType::f32, {3, 12});
  expect_error(
      [&] { gated_difference_forward(context, attended.tensor, Tensor(), out.tensor); },
      "[gated_difference_forward] expected attended [N, 2h*d] and gate [N, h], got fp32[3, 24]");
  expect_error(
      [&] {
        gated_difference_forward(context, attended.tensor, TestTensor(DType::f32, {3, 5}).tensor,
                                 out.tensor);
      },
      "[gated_difference_forward] attended: expected two heads for each of the gate's 5, of equal "
      "width, got fp32[3, 24]");
  expect_error(
      [&] { gated_difference_forward(context, attended.tensor, gate.tensor, attended.tensor); },
      "[gated_difference_forward] out: expected fp32[3, 12], got fp32[3, 24]");
  expect_error(
      [&] {
        gated_difference_backward(context, attended.tensor, gate.tensor, gate.tensor,
                                  attended.tensor, gate.tensor);
      },
      "[gated_difference_backward] dout: expected fp32[3, 12], got fp32[3, 4]");
  expect_error(
      [&] {
        gated_difference_backward(context, attended.tensor, gate.tensor, out.tensor,
                                  attended.tensor, out.tensor);
      },
      "[gated_difference_backward] dgate: expected fp32[3, 4], got fp32[3, 12]");
}

}  // namespace
}  // namespace gda::test
