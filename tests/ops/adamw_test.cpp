#include "gda/ops/adamw.h"

#include <limits>

#include "ops/adamw_kernels.h"
#include "support/op_test.h"

namespace gda::test {
namespace {

constexpr AdamWStep kStep{.lr = 1e-2,
                          .beta1 = 0.9,
                          .beta2 = 0.95,
                          .eps = 1e-8,
                          .weight_decay = 0.1,
                          .gradient_scale = 0.5,
                          .step = 3};

// A state as in the middle of training: v is well above 0.
struct State {
  State(DType dtype, std::int64_t n)
      : gradient(random_tensor("gradient", dtype, {n})),
        master(random_tensor("master", dtype, {n})),
        m(random_tensor("m", dtype, {n}, 0.1)),
        v(random_tensor("v", dtype, {n})) {
    for (std::int64_t i = 0; i < n; ++i) {
      set(v.tensor, i, 0.01 + get(v.tensor, i) * get(v.tensor, i));
    }
  }
  State(const State& other, DType dtype)
      : gradient(cast(other.gradient.tensor, dtype)),
        master(cast(other.master.tensor, dtype)),
        m(cast(other.m.tensor, dtype)),
        v(cast(other.v.tensor, dtype)) {}
  void update(const AdamWStep& step, const Tensor& copy = {}) const {
    adamw_update(TestContext(), step, gradient.tensor, master.tensor, m.tensor, v.tensor, copy);
  }
  TestTensor gradient, master, m, v;
};

// From zero moments, m_t = (1 - beta1) sum_i beta1^(t-i) g_i, and v_t likewise.
TEST(AdamW, ReferenceFollowsTheClosedForm) {
  constexpr int kSteps = 5;
  const TestContext context;
  const TestTensor gradients = random_tensor("gradients", DType::f64, {kSteps, 1});
  const TestTensor master = random_tensor("master", DType::f64, {1});
  const TestTensor m(DType::f64, {1});
  const TestTensor v(DType::f64, {1});
  double expected = get(master.tensor, 0);
  AdamWStep step = kStep;
  for (int t = 1; t <= kSteps; ++t) {
    double first = 0;
    double second = 0;
    for (int i = 1; i <= t; ++i) {
      const double g = step.gradient_scale * get(gradients.tensor, i - 1);
      first += (1 - step.beta1) * std::pow(step.beta1, t - i) * g;
      second += (1 - step.beta2) * std::pow(step.beta2, t - i) * g * g;
    }
    first /= 1 - std::pow(step.beta1, t);
    second /= 1 - std::pow(step.beta2, t);
    expected -= step.lr * (first / (std::sqrt(second) + step.eps) + step.weight_decay * expected);
    step.step = t;
    adamw_update(context, step, gradients.tensor.rows(t - 1, 1).reshape({1}), master.tensor,
                 m.tensor, v.tensor, {});
    EXPECT_NEAR(get(master.tensor, 0), expected, 1e-14) << t;
  }
}

// Each product of the power is rounded, which the squares after it double: u for each factor.
TEST(AdamW, PowersErrByTheirCount) {
  for (const double beta : {0.9, 0.95, 0.999, 0.99999}) {
    EXPECT_EQ(power(beta, 0), 1);
    EXPECT_EQ(power(beta, 1), beta);
    for (const std::int64_t count : {2, 3, 10, 1000, 1'048'575, 1'048'576}) {
      const long double exact = std::pow(static_cast<long double>(beta), count);
      const long double u = unit_roundoff(DType::f64);
      // Below the smallest normal number nothing is relative.
      EXPECT_LE(std::abs(power(beta, count) - exact),
                static_cast<long double>(count) * u * exact + std::numeric_limits<double>::min())
          << beta << "^" << count;
    }
  }
}

TEST(AdamW, F32MatchesReference) {
  const double u = unit_roundoff(DType::f32);
  for (const std::int64_t n : {1, 7, 64, 8192, 20011}) {
    const State single(DType::f32, n);
    const State reference(single, DType::f64);
    // |m| / sqrt(v) before cancellation, with every operation of the update relative to it.
    double direction = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const double magnitude =
          kStep.beta1 * std::abs(get(reference.m.tensor, i)) +
          (1 - kStep.beta1) * kStep.gradient_scale * std::abs(get(reference.gradient.tensor, i));
      const double second = kStep.beta2 * get(reference.v.tensor, i);
      direction = std::max(direction, magnitude / std::sqrt(second));
    }
    direction /= 1 - std::pow(kStep.beta1, 3);
    single.update(kStep);
    reference.update(kStep);
    // m: two products, a sum, and constants rounded once: 6 u of its terms. v: one product more.
    EXPECT_LE(max_difference(single.m.tensor, reference.m.tensor), 6 * u * 1.0) << n;
    EXPECT_LE(relative_difference(single.v.tensor, reference.v.tensor), 7 * u) << n;
    // direction: m's 6 u, half of v's 7 u, and root, product, sum, quotient, factor: under 16 u.
    // The master itself is rounded twice, and so is its decay.
    EXPECT_LE(max_difference(single.master.tensor, reference.master.tensor),
              16 * u * kStep.lr * direction + 3 * u * max_abs(reference.master.tensor))
        << n;
  }
}

TEST(AdamW, CopiesRoundedToNearestEven) {
  for (const std::int64_t n : {1, 17, 8193}) {
    const State state(DType::f32, n);
    const State plain(state, DType::f32);
    const TestTensor half(DType::bf16, {n});
    state.update(kStep, half.tensor);
    plain.update(kStep);
    EXPECT_EQ(max_difference(half.tensor, cast(state.master.tensor, DType::bf16).tensor), 0);
    EXPECT_EQ(max_difference(state.master.tensor, plain.master.tensor), 0);
  }
}

TEST(AdamW, CopiesOfTheSameType) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const State state(dtype, 8195);
    const State same(state, dtype);
    const TestTensor copy(dtype, {8195});
    state.update(kStep, copy.tensor);
    same.update(kStep, same.master.tensor);
    EXPECT_EQ(max_difference(copy.tensor, state.master.tensor), 0);
    EXPECT_EQ(max_difference(same.master.tensor, state.master.tensor), 0);
  }
}

TEST(AdamW, ZeroGradientOnlyDecays) {
  const State state(DType::f32, 5);
  for (const Tensor& x : {state.gradient.tensor, state.m.tensor, state.v.tensor}) fill(x, 0);
  const std::vector<double> before = values(state.master.tensor);
  state.update(kStep);
  for (std::int64_t i = 0; i < 5; ++i) {
    const double expected =
        before[static_cast<std::size_t>(i)] * (1 - kStep.lr * kStep.weight_decay);
    EXPECT_NEAR(get(state.master.tensor, i), expected,
                3 * unit_roundoff(DType::f32) * std::abs(expected));
  }
}

TEST(AdamW, RefusesBadArguments) {
  const State state(DType::f32, 5);
  const State other(DType::f32, 6);
  AdamWStep step = kStep;
  step.step = 0;
  expect_error([&] { state.update(step); },
               "[adamw_update] step: expected 1 for the first update or more, got 0");
  expect_error([&] { state.update(kStep, TestTensor(DType::bf16, {6}).tensor); },
               "[adamw_update] copy: expected bf16[5], got bf16[6]");
  expect_error([&] { state.update(kStep, TestTensor(DType::f64, {5}).tensor); },
               "[adamw_update] copy: expected fp32[5], got fp64[5]");
  const TestContext context;
  expect_error(
      [&] {
        adamw_update(context, kStep, other.gradient.tensor, state.master.tensor, state.m.tensor,
                     state.v.tensor, {});
      },
      "[adamw_update] gradient: expected fp32[5], got fp32[6]");
  const TestTensor half(DType::bf16, {5});
  expect_error(
      [&] { adamw_update(context, kStep, half.tensor, half.tensor, half.tensor, half.tensor, {}); },
      "[adamw_update] master: expected fp32 or fp64, got bf16[5]");
}

}  // namespace
}  // namespace gda::test
