// PolyNorm of places that share a layer's units, against that of one that has them all.
#include "gda/ops/gated_activation.h"
#include "places.h"

namespace gda::test {
namespace {

constexpr DType kTypes[] = {DType::f64, DType::f32, DType::bf16};
constexpr std::int64_t kRows = 19;
constexpr std::int64_t kUnits = 64;
// In packs on a GPU, and one by one; parts of different sizes.
const std::vector<std::vector<std::int64_t>> kCuts = {{0, 32, 64}, {0, 16, 24, 64}, {0, 5, 64}};

struct PolyNorm {
  explicit PolyNorm(DType dtype)
      : gate(random_tensor("gate", dtype, {kRows, kUnits})),
        up(random_tensor("up", dtype, {kRows, kUnits})),
        dout(random_tensor("dout", dtype, {kRows, kUnits})),
        weight(random_tensor("weight", accumulate_type(dtype), {3})),
        bias(random_tensor("bias", accumulate_type(dtype), {1})) {}
  PolyNorm(const PolyNorm& other, DType dtype)
      : gate(cast(other.gate.tensor, dtype)),
        up(cast(other.up.tensor, dtype)),
        dout(cast(other.dout.tensor, dtype)),
        weight(cast(other.weight.tensor, accumulate_type(dtype))),
        bias(cast(other.bias.tensor, accumulate_type(dtype))) {
    if (other.mask.tensor) mask = cast(other.mask.tensor, accumulate_type(dtype));
  }

  // Units in one part alone are masked, wholly or by half.
  void fade_in(const Part& part) {
    mask = TestTensor(accumulate_type(gate.tensor.dtype()), {kUnits});
    fill(mask.tensor, 1);
    for (std::int64_t j = part.begin; j < part.end; j += 2)
      set(mask.tensor, j, j % 4 == 0 ? 0 : 0.5);
  }
  double mask_sum() const {
    double sum = 0;
    for (const double c : values(mask.tensor)) sum += c;
    return sum;
  }

  TestTensor gate, up, dout, weight, bias, mask;
};

// Results, columns behind columns, and parameters' gradients added up.
struct Results {
  std::vector<double> out = std::vector<double>(kRows * kUnits);
  std::vector<double> dgate = out, dup = out;
  std::vector<double> dparameters = std::vector<double>(4);

  void set_columns(std::vector<double> Results::*result, const Part& part, const Tensor& from) {
    for (std::int64_t i = 0; i < kRows; ++i) {
      for (std::int64_t j = part.begin; j < part.end; ++j) {
        (this->*result)[static_cast<std::size_t>(i * kUnits + j)] =
            get(from, i * part.count() + j - part.begin);
      }
    }
  }
};

void carry_out(const PolyNorm& p, const Part& part, const UnitPart& units, Results& results) {
  const TestContext context;
  const DType dtype = p.gate.tensor.dtype();
  const TestTensor gate = columns_copy(p.gate.tensor, part);
  const TestTensor up = columns_copy(p.up.tensor, part);
  const TestTensor dout = columns_copy(p.dout.tensor, part);
  TestTensor factors;
  ColumnMask mask;
  if (p.mask.tensor) {
    factors = rows_copy(p.mask.tensor, part);
    mask = {factors.tensor, p.mask_sum()};
  }
  const TestTensor out(dtype, gate.tensor.shape());
  const TestTensor dgate(dtype, gate.tensor.shape());
  const TestTensor dup(dtype, gate.tensor.shape());
  const TestTensor dweight(accumulate_type(dtype), {3});
  const TestTensor dbias(accumulate_type(dtype), {1});
  poly_norm_forward(context, gate.tensor, up.tensor, p.weight.tensor, p.bias.tensor, out.tensor,
                    mask, kPolyNormEps, units);
  poly_norm_backward(context, gate.tensor, up.tensor, p.weight.tensor, p.bias.tensor, dout.tensor,
                     dgate.tensor, dup.tensor, dweight.tensor, dbias.tensor, mask, kPolyNormEps,
                     units);
  results.set_columns(&Results::out, part, out.tensor);
  results.set_columns(&Results::dgate, part, dgate.tensor);
  results.set_columns(&Results::dup, part, dup.tensor);
  for (std::size_t k = 0; k < 3; ++k) {
    results.dparameters[k] += get(dweight.tensor, static_cast<std::int64_t>(k));
  }
  results.dparameters[3] += get(dbias.tensor, 0);
}

// Sizes of the terms of which results are sums: errors are relative to them.
struct Sizes {
  double out = 0, dgate = 0, dup = 0, dparameters = 0;

  explicit Sizes(const PolyNorm& exact) {
    for (std::int64_t row = 0; row < kRows; ++row) add_row(exact, row);
  }

 private:
  static double at(const TestTensor& tensor, std::int64_t i) {
    return std::abs(get(tensor.tensor, i));
  }

  void add_row(const PolyNorm& p, std::int64_t row) {
    const auto c = [&](std::int64_t j) { return p.mask.tensor ? get(p.mask.tensor, j) : 1; };
    const double sum = p.mask.tensor ? p.mask_sum() : kUnits;
    double r[4] = {};
    double moment[4] = {};  // sum |g x^k|
    for (int k = 0; k <= 3; ++k) {
      double powers = 0;
      for (std::int64_t j = 0; j < kUnits; ++j) {
        const std::int64_t i = row * kUnits + j;
        powers += c(j) * std::pow(at(p.gate, i), 2 * k);
        moment[k] += c(j) * at(p.up, i) * at(p.dout, i) * std::pow(at(p.gate, i), k);
      }
      r[k] = 1 / std::sqrt(powers / sum + kPolyNormEps);
    }
    for (int k = 1; k <= 3; ++k) dparameters += moment[k] * r[k];
    dparameters += moment[0];
    for (std::int64_t j = 0; j < kUnits; ++j) {
      const std::int64_t i = row * kUnits + j;
      const double x = at(p.gate, i);
      double value = at(p.bias, 0);
      double slope = 0;
      double mean = 0;
      for (int k = 1; k <= 3; ++k) {
        const double w = at(p.weight, 3 - k);
        value += w * std::pow(x, k) * r[k];
        slope += w * k * std::pow(x, k - 1) * r[k];
        mean += w * k * std::pow(r[k], 3) * std::pow(x, 2 * k - 1) * moment[k] / sum;
      }
      out = std::max(out, c(j) * at(p.up, i) * value);
      dup = std::max(dup, c(j) * at(p.dout, i) * value);
      dgate = std::max(dgate, c(j) * (at(p.up, i) * at(p.dout, i) * slope + mean));
    }
  }
};

void expect_near(const std::vector<double>& actual, const std::vector<double>& expected,
                 double error, double rounding) {
  double largest = 0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(actual[i], expected[i], error + rounding * largest) << i;
  }
}

// Sums of F terms err by sqrt(F) u of the terms' sizes, and a dozen operations follow; in a mean's
// term of dx a norm stands in its third power, which is a sum's to -3/2, beside another sum.
// Parameters' gradients are sums over the rows of such. Both sides err in f64.
void expect_as_whole(const PolyNorm& problem, const std::vector<std::int64_t>& borders) {
  const DType dtype = problem.gate.tensor.dtype();
  SCOPED_TRACE(fmt::format("{} cut at {}", name_of(dtype), borders[1]));
  Results places;
  const std::vector<Part> parts = parts_of(borders);
  const auto meetings = Places(static_cast<int>(parts.size()))
                            .carry_out([&](int place, const Meet&, const Meet& sum) {
                              if (place == 0) places = {};
                              carry_out(problem, parts[static_cast<std::size_t>(place)],
                                        {.total = kUnits, .sum = sum}, places);
                            });
  ASSERT_EQ(meetings.size(), 2U);
  EXPECT_EQ(meetings[0], (Places::Meeting{true, {kRows, 3}, accumulate_type(dtype), {}}));
  EXPECT_EQ(meetings[1], (Places::Meeting{true, {kRows, 6}, accumulate_type(dtype), {}}));
  const OnCpu judge;
  const PolyNorm exact(problem, DType::f64);
  Results whole;
  carry_out(exact, {0, kUnits}, {}, whole);
  const Sizes sizes(exact);
  const double u = (dtype == DType::f64 ? 2 : 1) * unit_roundoff(accumulate_type(dtype));
  const double error = (std::sqrt(static_cast<double>(kUnits)) + 12) * u;
  const double rounding = unit_roundoff(dtype);
  expect_near(places.out, whole.out, error * sizes.out, rounding);
  expect_near(places.dup, whole.dup, error * sizes.dup, rounding);
  expect_near(places.dgate, whole.dgate, 2.5 * error * sizes.dgate, rounding);
  expect_near(places.dparameters, whole.dparameters,
              (2 * error + std::sqrt(static_cast<double>(kRows)) * u) * sizes.dparameters, 0);
}

TEST(UnitPart, PolyNormIsThatOfTheWhole) {
  for (const DType dtype : kTypes) {
    for (const auto& borders : kCuts) expect_as_whole(PolyNorm(dtype), borders);
  }
}

// The mask's sum is over all places, and above what the columns of one could have.
TEST(UnitPart, MasksOfOnePart) {
  for (const DType dtype : kTypes) {
    for (const auto& borders : kCuts) {
      for (const Part& part : parts_of(borders)) {
        PolyNorm problem(dtype);
        problem.fade_in(part);
        expect_as_whole(problem, borders);
      }
    }
  }
}

// What only one place sees moves the norms of all.
TEST(UnitPart, LargeUnitsOfOnePart) {
  for (const DType dtype : kTypes) {
    PolyNorm problem(dtype);
    for (std::int64_t i = 0; i < kRows; ++i) {
      for (std::int64_t j = 0; j < 5; ++j) {
        set(problem.gate.tensor, i * kUnits + j, 100 * get(problem.gate.tensor, i * kUnits + j));
      }
    }
    expect_as_whole(problem, {0, 5, 64});
  }
}

TEST(UnitPart, NanOfOnePartShows) {
  for (const DType dtype : kTypes) {
    const PolyNorm problem(dtype);
    set(problem.gate.tensor, 3 * kUnits + 40, NAN);
    Results places;
    const std::vector<Part> parts = parts_of(kCuts[0]);
    Places(2).carry_out([&](int place, const Meet&, const Meet& sum) {
      carry_out(problem, parts[static_cast<std::size_t>(place)], {.total = kUnits, .sum = sum},
                places);
    });
    for (std::size_t j = 0; j < kUnits; ++j) {
      EXPECT_TRUE(std::isnan(places.out[3 * kUnits + j])) << j;
      EXPECT_TRUE(std::isnan(places.dgate[3 * kUnits + j])) << j;
      EXPECT_FALSE(std::isnan(places.out[4 * kUnits + j])) << j;
    }
  }
}

// A unit's own product depends on no other: columns of a part, with the mask's sum over all places.
TEST(UnitPart, SwigluTakesTheMaskOfAll) {
  const TestContext context;
  PolyNorm p(DType::f32);
  p.fade_in({0, 32});
  const TestTensor whole(DType::f32, {kRows, kUnits});
  swiglu_forward(context, p.gate.tensor, p.up.tensor, whole.tensor, {p.mask.tensor, p.mask_sum()});
  const Part part{60, 64};
  const TestTensor factors = rows_copy(p.mask.tensor, part);
  const TestTensor gate = columns_copy(p.gate.tensor, part);
  const TestTensor up = columns_copy(p.up.tensor, part);
  const TestTensor out(DType::f32, gate.tensor.shape());
  const TestTensor dgate(DType::f32, gate.tensor.shape());
  swiglu_forward(context, gate.tensor, up.tensor, out.tensor, {factors.tensor, p.mask_sum()});
  swiglu_backward(context, gate.tensor, up.tensor, out.tensor, dgate.tensor, up.tensor,
                  {factors.tensor, p.mask_sum()});
  // (the vector code may end a row by other instructions than it has for its midst)
  const TestTensor expected = columns_copy(whole.tensor, part);
  EXPECT_LE(max_difference(out.tensor, expected.tensor),
            16 * unit_roundoff(DType::f32) * max_abs(expected.tensor));
}

TEST(UnitPart, RefusesBadParts) {
  const PolyNorm p(DType::f32);
  const TestTensor out(DType::f32, {kRows, kUnits});
  const auto call = [&](const ColumnMask& mask, const UnitPart& part) {
    poly_norm_forward(TestContext(), p.gate.tensor, p.up.tensor, p.weight.tensor, p.bias.tensor,
                      out.tensor, mask, kPolyNormEps, part);
  };
  const auto nobody = [](const Tensor&) {};
  expect_error([&] { call({}, {.total = 63, .sum = nobody}); },
               "[poly_norm_forward] part: expected a sum over all places and a total of at least "
               "64 units, or neither, got a sum and a total of 63");
  expect_error([&] { call({}, {.total = 64}); }, "or neither, got no sum and a total of 64");
  expect_error([&] { call({}, {.sum = nobody}); }, "or neither, got a sum and a total of 0");
  const TestTensor ones(DType::f32, {kUnits});
  expect_error(
      [&] {
        call({ones.tensor, 129}, {.total = 128, .sum = nobody});
      },
      "[poly_norm_forward] mask: expected a sum of factors in (0, 128], got 129");
  call({ones.tensor, 128}, {.total = 128, .sum = nobody});
}

}  // namespace
}  // namespace gda::test
