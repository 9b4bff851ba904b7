// Embedding and loss of places that share a vocabulary, against those of one that has it all.
#include "gda/ops/embedding.h"
#include "gda/ops/linear_cross_entropy.h"
#include "gda/ops/matmul.h"
#include "places.h"

namespace gda::test {
namespace {

constexpr DType kTypes[] = {DType::f64, DType::f32, DType::bf16};
constexpr double kScale = 0.25;
constexpr std::int64_t kEntries = 37;
// Even as can be, far from it, and with a part of one entry.
const std::vector<std::vector<std::int64_t>> kCuts = {
    {0, 19, 37}, {0, 13, 25, 37}, {0, 3, 37}, {0, 20, 21, 37}};

VocabularyPart vocabulary_part(const Part& part) {
  return {.first = part.begin, .total = kEntries};
}

// Of targets and tokens: all entries about as often, the first and the last of each part among
// them.
TestTensor entries(const std::vector<std::int64_t>& borders, std::int64_t count) {
  TestTensor id = random_indices("entries", {count}, kEntries);
  std::int64_t at = 0;
  for (const Part& part : parts_of(borders)) {
    set(id.tensor, at++, static_cast<double>(part.begin));
    set(id.tensor, at++, static_cast<double>(part.end - 1));
  }
  return id;
}

TEST(VocabularyPart, EmbeddingsAddUp) {
  const TestContext context;
  for (const DType dtype : kTypes) {
    for (const auto& borders : kCuts) {
      const TestTensor token = entries(borders, 50);
      const TestTensor table = random_tensor("table", dtype, {kEntries, 12});
      const TestTensor whole(dtype, {50, 12});
      embedding_forward(context, token.tensor, table.tensor, whole.tensor);
      std::vector<double> sum(600);
      for (const Part& part : parts_of(borders)) {
        const TestTensor rows = rows_copy(table.tensor, part);
        const TestTensor y(dtype, {50, 12});
        fill(y.tensor, NAN);
        embedding_forward(context, token.tensor, rows.tensor, y.tensor, vocabulary_part(part));
        const std::vector<double> term = values(y.tensor);
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += term[i];
      }
      EXPECT_EQ(sum, values(whole.tensor)) << name_of(dtype);  // zeros are added
    }
  }
}

TEST(VocabularyPart, GradientsOfTheTableAreItsRows) {
  const TestContext context;
  for (const DType dtype : kTypes) {
    for (const auto& borders : kCuts) {
      const TestTensor token = entries(borders, 300);
      const TestTensor dy = random_tensor("dy", dtype, {300, 12});
      const TestTensor whole = random_tensor("before", accumulate_type(dtype), {kEntries, 12});
      const TestTensor before = cast(whole.tensor, whole.tensor.dtype());
      embedding_backward(context, token.tensor, dy.tensor, whole.tensor);
      for (const Part& part : parts_of(borders)) {
        const TestTensor dtable = rows_copy(before.tensor, part);
        embedding_backward(context, token.tensor, dy.tensor, dtable.tensor, vocabulary_part(part));
        EXPECT_EQ(values(dtable.tensor), values(whole.tensor.rows(part.begin, part.count())))
            << name_of(dtype);
      }
    }
  }
}

TEST(VocabularyPart, EmbeddingRefusesIdsOutsideTheWhole) {
  const TestContext context;
  const TestTensor token(DType::i32, {2});
  set(token.tensor, 1, 9);
  const TestTensor table = random_tensor("table", DType::f32, {4, 3});
  const TestTensor y(DType::f32, {2, 3});
  const VocabularyPart part{.first = 5, .total = 9};
  if (on_cuda()) {
    embedding_forward(context, token.tensor, table.tensor, y.tensor, part);
    EXPECT_EQ(max_abs(y.tensor.rows(0, 1)), 0);
    EXPECT_TRUE(std::isnan(get(y.tensor, 3)));
  } else {
    expect_error([&] { embedding_forward(context, token.tensor, table.tensor, y.tensor, part); },
                 "[embedding_forward] token 1 has id 9, but the table has rows 0 to 8");
  }
  expect_error(
      [&] {
        embedding_backward(context, token.tensor, y.tensor, table.tensor, {.first = 6, .total = 9});
      },
      "[embedding_backward] dtable: expected a part of 9 entries, got 4 rows from entry 6");
  expect_error(
      [&] {
        embedding_forward(context, token.tensor, table.tensor, y.tensor, {.first = 6, .total = 0});
      },
      "[embedding_forward] table: expected a part of 0 entries, got 4 rows from entry 6");
}

struct Loss {
  Loss(DType dtype, std::int64_t count, std::int64_t width)
      : rows(count),
        x(random_tensor("x", dtype, {rows, width})),
        weight(random_tensor("weight", dtype, {kEntries, width})),
        target(random_indices("target", {rows}, kEntries)),
        loss(accumulate_type(dtype), {rows}),
        dx(dtype, {rows, width}),
        dweight(accumulate_type(dtype), {kEntries, width}) {}
  // The same in f64.
  Loss(const Loss& other, DType dtype)
      : rows(other.rows),
        x(cast(other.x.tensor, dtype)),
        weight(cast(other.weight.tensor, dtype)),
        target(cast(other.target.tensor, DType::i32)),
        loss(dtype, {rows}),
        dx(dtype, other.x.tensor.shape()),
        dweight(dtype, other.weight.tensor.shape()) {}

  void whole() const {
    linear_cross_entropy_forward_backward(TestContext(), x.tensor, weight.tensor, target.tensor,
                                          kScale, loss.tensor, dx.tensor, dweight.tensor);
  }
  // Logits of the part's entries are `by` larger.
  void raise(const Part& part, double by) const {
    const std::int64_t width = x.tensor.dim(1);
    for (std::int64_t n = 0; n < rows; ++n) set(x.tensor, n * width, 1);
    for (std::int64_t v = part.begin; v < part.end; ++v) {
      set(weight.tensor, v * width, by + get(weight.tensor, v * width));
    }
  }

  std::int64_t rows;
  TestTensor x, weight, target, loss, dx, dweight;
};

// What the places have after a pass.
struct CutLoss {
  std::vector<std::vector<double>> loss_alone, loss, dx;
  std::vector<double> dweight;  // one place's rows behind the other's
  std::vector<Places::Meeting> meetings;

  double largest_dx() const {
    double sum = 0;
    for (const auto& term : dx) {
      double largest = 0;
      for (const double value : term) largest = std::max(largest, std::abs(value));
      sum += largest;
    }
    return sum;
  }
};

CutLoss cut(const Loss& problem, const std::vector<std::int64_t>& borders,
            std::size_t max_logit_bytes = 0) {
  const std::vector<Part> parts = parts_of(borders);
  CutLoss result;
  const DType wide = problem.loss.tensor.dtype();
  const TestContext context;
  const auto pass = [&](bool gradient) {
    return [&, gradient](int place, const Meet& maximum, const Meet& sum) {
      if (place == 0) {
        result.loss.clear();
        result.dx.clear();
        result.dweight.clear();
      }
      const Part& part = parts[static_cast<std::size_t>(place)];
      const TestTensor weight = rows_copy(problem.weight.tensor, part);
      const TestTensor loss(wide, {problem.rows});
      fill(loss.tensor, -1);
      const LinearCrossEntropyOptions options{.max_logit_bytes = max_logit_bytes,
                                              .vocabulary = vocabulary_part(part),
                                              .maximum_over_parts = maximum,
                                              .sum_over_parts = sum};
      if (gradient) {
        const TestTensor dx(problem.x.tensor.dtype(), problem.x.tensor.shape());
        const TestTensor dweight(wide, weight.tensor.shape());
        linear_cross_entropy_forward_backward(context, problem.x.tensor, weight.tensor,
                                              problem.target.tensor, kScale, loss.tensor, dx.tensor,
                                              dweight.tensor, options);
        result.dx.push_back(values(dx.tensor));
        const std::vector<double> rows = values(dweight.tensor);
        result.dweight.insert(result.dweight.end(), rows.begin(), rows.end());
      } else {
        linear_cross_entropy_forward(context, problem.x.tensor, weight.tensor,
                                     problem.target.tensor, loss.tensor, options);
      }
      result.loss.push_back(values(loss.tensor));
    };
  };
  const auto count = static_cast<int>(parts.size());
  Places(count).carry_out(pass(false));
  result.loss_alone = result.loss;
  result.meetings = Places(count).carry_out(pass(true));
  return result;
}

// Bounds on differences from f64. u is the accumulate type's. A logit is a sum of D products, wrong
// by 6 sqrt(D + 1) u |x||w| (see matmul's test). A loss adds two such errors, a rounding of
// logit - maximum of each of the two maxima, exp's 2 ulp for the term and as much for each other
// exp that multiplies it (a GPU's thread may meet a larger logit in each of its packs and what is
// behind them, once more for the row, once for the places), sums of up to V terms, and its own
// rounding. The f64 that judges is wrong by as much in its own u.
struct Allowed {
  double loss_alone, loss, dx, dweight;

  Allowed(const Loss& exact, DType dtype, double largest_dx) {
    const double u = unit_roundoff(accumulate_type(dtype));
    const double rounding = unit_roundoff(dtype);
    const auto width = static_cast<double>(exact.x.tensor.dim(1));
    const Shape shape{exact.rows, kEntries};
    const TestTensor magnitudes(DType::f64, shape);
    const TestTensor logits(DType::f64, shape);
    matmul(TestContext(), absolute(exact.x.tensor).tensor, absolute(exact.weight.tensor).tensor,
           magnitudes.tensor, {.transpose_b = true});
    matmul(TestContext(), exact.x.tensor, exact.weight.tensor, logits.tensor,
           {.transpose_b = true});
    const double magnitude = max_abs(magnitudes.tensor);
    const double logit = 6 * std::sqrt(width + 1) * u * magnitude;
    loss_alone =
        2 * logit + (3 * magnitude + 4 * 5 + kEntries) * u + u * max_abs(exact.loss.tensor);
    // On a GPU logits are of the compute type here, and both of a loss rounded to it.
    const bool rounded = on_cuda() && dtype == DType::bf16;
    loss = loss_alone + (rounded ? 2 * rounding * max_abs(logits.tensor) : 0);
    if (dtype == DType::f64) loss = loss_alone *= 2;
    // A gradient of a logit is scale (p - 1 or 0), p is exp of what is wrong by the loss's bound,
    // and it is rounded; over the entries their sizes sum to at most 2 scale, over tokens to at
    // most scale each. Each place rounds its term of dx.
    const auto relative = [&](double terms) {
      return std::expm1(loss) + rounding + 6 * std::sqrt(terms + 1) * u;
    };
    dx = 2 * kScale * max_abs(exact.weight.tensor) * relative(kEntries) + rounding * largest_dx;
    dweight = kScale * static_cast<double>(exact.rows) * max_abs(exact.x.tensor) *
              relative(static_cast<double>(exact.rows));
  }
};

std::vector<Places::Meeting> expect_as_whole(const Loss& problem,
                                             const std::vector<std::int64_t>& borders,
                                             std::size_t max_logit_bytes = 0) {
  const DType dtype = problem.x.tensor.dtype();
  SCOPED_TRACE(fmt::format("{} cut at {}", name_of(dtype), borders[1]));
  const CutLoss places = cut(problem, borders, max_logit_bytes);
  const OnCpu judge;
  const Loss exact(problem, DType::f64);
  exact.whole();
  const Allowed allowed(exact, dtype, places.largest_dx());
  const std::vector<double> loss = values(exact.loss.tensor);
  const std::vector<double> dx = values(exact.dx.tensor);
  const std::vector<double> dweight = values(exact.dweight.tensor);
  for (std::size_t place = 0; place < places.loss.size(); ++place) {
    EXPECT_EQ(places.loss[place], places.loss[0]);
    EXPECT_EQ(places.loss_alone[place], places.loss_alone[0]);
  }
  for (std::size_t n = 0; n < loss.size(); ++n) {
    EXPECT_NEAR(places.loss_alone[0][n], loss[n], allowed.loss_alone) << n;
    EXPECT_NEAR(places.loss[0][n], loss[n], allowed.loss) << n;
  }
  for (std::size_t i = 0; i < dx.size(); ++i) {
    double sum = 0;
    for (const auto& term : places.dx) sum += term[i];
    EXPECT_NEAR(sum, dx[i], allowed.dx) << i;
  }
  EXPECT_EQ(places.dweight.size(), dweight.size());
  for (std::size_t i = 0; i < std::min(places.dweight.size(), dweight.size()); ++i) {
    EXPECT_NEAR(places.dweight[i], dweight[i], allowed.dweight) << i;
  }
  return places.meetings;
}

TEST(VocabularyPart, LossesAndGradientsAreThoseOfTheWhole) {
  for (const DType dtype : kTypes) {
    for (const auto& borders : kCuts) {
      Loss problem(dtype, 13, 8);
      problem.target = entries(borders, 13);
      set(problem.target.tensor, 11, kIgnoreTarget);
      expect_as_whole(problem, borders);
    }
  }
}

TEST(VocabularyPart, PartsWithoutTargets) {
  for (const DType dtype : kTypes) {
    Loss problem(dtype, 6, 8);
    fill(problem.target.tensor, 15);
    expect_as_whole(problem, {0, 13, 25, 37});
  }
}

// All parts have chunks of as many rows, those of the whole vocabulary, and meet twice for each:
// here 5 chunks of 13 rows.
TEST(VocabularyPart, MeetsTwiceAChunk) {
  for (const DType dtype : kTypes) {
    const std::size_t logit = on_cuda() ? size_of(dtype) : size_of(accumulate_type(dtype));
    const std::size_t bytes = 3 * (kEntries + 7) * logit;
    Loss problem(dtype, 13, 8);
    const auto meetings = expect_as_whole(problem, {0, 3, 37}, bytes);
    ASSERT_EQ(meetings.size(), 10U);
    for (std::size_t i = 0; i < meetings.size(); i += 2) {
      const std::int64_t rows = i < 8 ? 3 : 1;
      EXPECT_EQ(meetings[i], (Places::Meeting{false, {rows}, accumulate_type(dtype), {}}));
      EXPECT_EQ(meetings[i + 1], (Places::Meeting{true, {2, rows}, DType::f64, {}}));
    }
  }
}

// So far that one part's exponentials count little beside another's, or nothing, or not even in
// f64; with targets in all of them.
TEST(VocabularyPart, PartsWithLogitsFarApart) {
  for (const DType dtype : kTypes) {
    for (const double by : {3.0, -3.0, 20.0, -20.0, 300.0, -300.0, 2000.0}) {
      Loss problem(dtype, 13, 8);
      problem.target = entries(kCuts[1], 13);
      problem.raise({13, 25}, by);
      SCOPED_TRACE(by);
      expect_as_whole(problem, kCuts[1]);
    }
  }
}

// A logit that is not finite reaches all places.
TEST(VocabularyPart, NonFiniteLogitsOfOnePartShow) {
  for (const DType dtype : kTypes) {
    for (const double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY),
                             -static_cast<double>(INFINITY)}) {
      for (const std::int64_t entry : {2, 20, 36}) {
        Loss problem(dtype, 3, 2);
        fill(problem.x.tensor, 1);
        set(problem.weight.tensor, 2 * entry, bad);
        fill(problem.target.tensor, 15);
        set(problem.target.tensor, 2, kIgnoreTarget);
        const CutLoss places = cut(problem, kCuts[1]);
        for (std::size_t place = 0; place < 3; ++place) {
          EXPECT_TRUE(std::isnan(places.loss_alone[place][0])) << name_of(dtype) << bad;
          EXPECT_TRUE(std::isnan(places.loss[place][0])) << name_of(dtype) << bad;
          EXPECT_TRUE(std::isnan(places.dx[place][0])) << name_of(dtype) << bad;
          EXPECT_EQ(places.loss[place][2], 0);
        }
      }
    }
  }
}

TEST(VocabularyPart, LossRefusesBadParts) {
  const Loss problem(DType::f32, 3, 2);
  const TestTensor weight = rows_copy(problem.weight.tensor, {0, 20});
  const Meet nobody = [](const Tensor&) {};
  const auto call = [&](const Tensor& rows, const LinearCrossEntropyOptions& options) {
    linear_cross_entropy_forward(TestContext(), problem.x.tensor, rows, problem.target.tensor,
                                 problem.loss.tensor, options);
  };
  expect_error([&] { call(weight.tensor, {.vocabulary = {.first = 0, .total = 37}}); },
               "[linear_cross_entropy_forward] weight has 20 of 37 entries: expected a maximum and "
               "a sum over the parts");
  expect_error([&] { call(problem.weight.tensor, {.sum_over_parts = nobody}); },
               "[linear_cross_entropy_forward] weight has 37 of 37 entries: expected a maximum");
  expect_error(
      [&] {
        call(weight.tensor, {.vocabulary = {.first = 18, .total = 37},
                             .maximum_over_parts = nobody,
                             .sum_over_parts = nobody});
      },
      "[linear_cross_entropy_forward] weight: expected a part of 37 entries, got 20 rows from "
      "entry 18");
  set(problem.target.tensor, 1, 37);
  const LinearCrossEntropyOptions first{.vocabulary = {.first = 0, .total = 37},
                                        .maximum_over_parts = nobody,
                                        .sum_over_parts = nobody};
  if (on_cuda()) {
    call(weight.tensor, first);
    EXPECT_TRUE(std::isnan(get(problem.loss.tensor, 1)));
  } else {
    expect_error([&] { call(weight.tensor, first); },
                 "[linear_cross_entropy_forward] target 1 has id 37, expected 0 to 36");
  }
}

}  // namespace
}  // namespace gda::test
