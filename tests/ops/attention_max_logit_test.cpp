// The largest logit of each head, by every kernel, against plain loops over the scores.
#include <functional>

#include "attention_cases.h"

namespace gda::test {
namespace {

using Values = std::vector<double>;

// Of each head the largest scaled score that a query sees: no tiles, no running maximum.
Values plain_max_logit(const AttentionRun& run) {
  const AttentionShape& s = run.shape;
  const Values q = values(run.q.tensor);
  const Values k = values(run.k.tensor);
  Values largest(s.key_head.size(), -INFINITY);
  for (std::int64_t row = 0; row < s.batch * s.query_length; ++row) {
    const std::int64_t position = row % s.query_length + s.query_offset;
    const auto first = static_cast<std::int64_t>(
        run.first_key.tensor.empty() ? 0 : get(run.first_key.tensor, row));
    for (std::size_t h = 0; h < largest.size(); ++h) {
      const double* a =
          q.data() + row * run.q.tensor.dim(1) + static_cast<std::int64_t>(h) * s.head_dim;
      for (std::int64_t j = first; j <= position; ++j) {
        const std::int64_t key_row = row / s.query_length * s.key_length + j;
        const double* b = k.data() + key_row * run.k.tensor.dim(1) + s.key_head[h] * s.head_dim;
        double score = 0;
        for (std::int64_t n = 0; n < s.head_dim; ++n) score += a[n] * b[n];
        largest[h] = std::max(largest[h], score / std::sqrt(static_cast<double>(s.head_dim)));
      }
    }
  }
  return largest;
}

// A maximum errs by no more than the scores: each by s of AttentionBounds (attention_cases.h), and
// by 8 roundings of itself where a kernel has scores in powers of two, or unscaled, on their way.
double max_logit_error(const AttentionRun& run, const Values& exact) {
  const double u = unit_roundoff(run.lse.tensor.dtype());
  const auto d = static_cast<double>(run.shape.head_dim);
  double largest = 0;
  for (const double value : exact) largest = std::max(largest, std::abs(value));
  return u * (8 * (std::sqrt(d) + 1) * largest_row_norm(run.q.tensor, run.shape.head_dim) *
                  largest_row_norm(run.k.tensor, run.shape.head_dim) / std::sqrt(d) +
              8 * largest);
}

TestTensor max_logit_of(const AttentionRun& run, double before = -INFINITY) {
  TestTensor result(run.lse.tensor.dtype(), {run.shape.query_heads()});
  fill(result.tensor, before);
  return result;
}

void forward(AttentionRun& run, const Tensor& max_logit) {
  attention_forward(run.context, run.shape, run.q.tensor, run.k.tensor, run.v.tensor,
                    run.first_key.tensor, run.out.tensor, run.lse.tensor, max_logit);
}

void expect_near(const Tensor& max_logit, const Values& exact, double error) {
  for (std::size_t h = 0; h < exact.size(); ++h) {
    EXPECT_NEAR(get(max_logit, static_cast<std::int64_t>(h)), exact[h], error) << "head " << h;
  }
}

void expect_as_plain(AttentionRun& run) {
  SCOPED_TRACE(testing::Message() << name_of(run.q.tensor.dtype()) << " T "
                                  << run.shape.query_length << " offset " << run.shape.query_offset
                                  << " d " << run.shape.head_dim);
  const TestTensor max_logit = max_logit_of(run);
  forward(run, max_logit.tensor);
  const Values exact = plain_max_logit(run);
  expect_near(max_logit.tensor, exact, max_logit_error(run, exact));
}

std::vector<DType> all_types() {
  return {DType::f64, DType::f32, DType::bf16};
}

class AttentionMaxLogitMapping : public testing::TestWithParam<HeadMapping> {};
INSTANTIATE_TEST_SUITE_P(All, AttentionMaxLogitMapping, testing::ValuesIn(head_mappings()),
                         [](const auto& test) { return test.param.name; });

// Twice around every tile of queries and of keys, two sequences, with an uneven rest.
TEST_P(AttentionMaxLogitMapping, IsThatOfPlainLoops) {
  for (const DType type : all_types()) {
    for (const bool documents : {false, true}) {
      AttentionRun run(attention_shape(GetParam(), 2, 131, 70, 20), type);
      if (documents) run.first_key = document_starts(run.shape);
      expect_as_plain(run);
    }
  }
}

TEST(AttentionMaxLogit, WidthsOfTensorCores) {
  for (const std::int64_t d : {64, 96, 128}) {
    for (const auto& [mapping, batch] :
         {std::pair(head_mappings()[1], 2), std::pair(head_mappings()[3], 1)}) {
      AttentionRun run(attention_shape(mapping, batch, 275, 0, d), DType::bf16);
      run.first_key = document_starts(run.shape, 150);
      expect_as_plain(run);
    }
  }
}

// One large score, of a query and a key at the borders of tiles and of what a query sees.
TEST(AttentionMaxLogit, WhereverItIs) {
  AttentionRun run(attention_shape(head_mappings()[1], 1, 270, 0, 64), DType::bf16);
  const auto fill_row = [&](const Tensor& rows, std::int64_t row, double value) {
    for (std::int64_t i = row * rows.dim(1); i < (row + 1) * rows.dim(1); ++i) {
      set(rows, i, value);
    }
  };
  const Values q = values(run.q.tensor);
  const Values k = values(run.k.tensor);
  const auto restore = [&](const Tensor& rows, const Values& from, std::int64_t row) {
    for (std::int64_t i = row * rows.dim(1); i < (row + 1) * rows.dim(1); ++i) {
      set(rows, i, from[static_cast<std::size_t>(i)]);
    }
  };
  for (const auto& [query, key] : {std::pair{0, 0},
                                   {7, 0},
                                   {63, 63},
                                   {64, 1},
                                   {127, 64},
                                   {128, 128},
                                   {136, 127},
                                   {255, 0},
                                   {256, 191},
                                   {269, 269},
                                   {269, 0}}) {
    SCOPED_TRACE(testing::Message() << "query " << query << " key " << key);
    fill_row(run.q.tensor, query, 4);
    fill_row(run.k.tensor, key, 4);
    expect_as_plain(run);
    EXPECT_NEAR(plain_max_logit(run)[0], 16 * std::sqrt(64.0), 1e-9);
    restore(run.q.tensor, q, query);
    restore(run.k.tensor, k, key);
  }
}

// What a query does not see does not count: keys behind it, of other documents, of other heads.
TEST(AttentionMaxLogit, OfWhatQueriesSee) {
  for (const DType type : all_types()) {
    AttentionRun run(attention_shape(head_mappings()[1], 1, 200, 0, 64), type);
    run.first_key = document_starts(run.shape, 150);
    // The last key of a document, on which every query that does not see it would score high.
    const std::int64_t width = run.q.tensor.dim(1);
    for (std::int64_t i = 0; i < width; ++i) set(run.q.tensor, 149 * width + i, 0);
    const std::int64_t key_width = run.k.tensor.dim(1);
    for (std::int64_t i = 0; i < key_width; ++i) set(run.k.tensor, 149 * key_width + i, 100);
    expect_as_plain(run);
    EXPECT_LT(plain_max_logit(run)[0], 10);
  }
}

// All scores are negative, so that a maximum that starts at 0 shows.
TEST(AttentionMaxLogit, NegativeMaxima) {
  for (const DType type : all_types()) {
    for (const std::int64_t d : {20, 64}) {
      AttentionRun run(attention_shape(head_mappings()[3], 2, 140, 0, d), type);
      for (std::int64_t i = 0; i < run.q.tensor.elements(); ++i) {
        set(run.q.tensor, i, 1 + std::abs(get(run.q.tensor, i)));
      }
      for (std::int64_t i = 0; i < run.k.tensor.elements(); ++i) {
        set(run.k.tensor, i, -1 - std::abs(get(run.k.tensor, i)));
      }
      run.first_key = document_starts(run.shape);
      expect_as_plain(run);
      EXPECT_LT(plain_max_logit(run)[0], -std::sqrt(static_cast<double>(d)));
    }
  }
}

// Calls add up to the largest of all, in either order.
TEST(AttentionMaxLogit, HoldsTheLargestOfSeveralCalls) {
  for (const DType type : all_types()) {
    AttentionRun first(attention_shape(head_mappings()[1], 1, 140, 0, 64), type);
    AttentionRun second(first, type);
    for (std::int64_t i = 0; i < second.q.tensor.elements(); ++i) {
      const bool first_two_heads = i % second.q.tensor.dim(1) < 128;
      set(second.q.tensor, i, (first_two_heads ? 0.5 : 2) * get(second.q.tensor, i));
    }
    Values largest = plain_max_logit(first);
    const Values other = plain_max_logit(second);
    for (std::size_t h = 0; h < largest.size(); ++h) largest[h] = std::max(largest[h], other[h]);
    const double error = max_logit_error(second, largest);
    for (const bool swapped : {false, true}) {
      const TestTensor max_logit = max_logit_of(first);
      forward(swapped ? second : first, max_logit.tensor);
      forward(swapped ? first : second, max_logit.tensor);
      expect_near(max_logit.tensor, largest, error);
    }
    const TestTensor above = max_logit_of(first, 1e6);
    forward(first, above.tensor);
    EXPECT_EQ(values(above.tensor), Values(4, 1e6));
  }
}

// Asking for it changes no bit of the rest, and its own are those of any run.
TEST(AttentionMaxLogit, LeavesTheOutputsAlone) {
  for (const DType type : all_types()) {
    AttentionRun run(attention_shape(head_mappings()[3], 2, 140, 3, 64), type);
    run.first_key = document_starts(run.shape);
    run.forward();
    const Values out = values(run.out.tensor);
    const Values lse = values(run.lse.tensor);
    const TestTensor once = max_logit_of(run);
    const TestTensor twice = max_logit_of(run);
    forward(run, once.tensor);
    forward(run, twice.tensor);
    EXPECT_EQ(values(run.out.tensor), out);
    EXPECT_EQ(values(run.lse.tensor), lse);
    EXPECT_EQ(values(once.tensor), values(twice.tensor));
  }
}

// q and k as columns of wider matrices, with numbers beside them that would be larger.
TEST(AttentionMaxLogit, StridedRows) {
  for (const DType type : all_types()) {
    AttentionRun run(attention_shape(head_mappings()[2], 2, 70, 0, 64), type);
    const std::int64_t q = run.q.tensor.dim(1);
    const std::int64_t k = run.k.tensor.dim(1);
    TestTensor fused(type, {140, q + k + 16});
    fill(fused.tensor, 50);
    const Tensor q_columns = fused.tensor.columns(8, q);
    const Tensor k_columns = fused.tensor.columns(8 + q, k);
    for (const auto& [to, from] :
         {std::pair(q_columns, run.q.tensor), std::pair(k_columns, run.k.tensor)}) {
      for (std::int64_t i = 0; i < from.elements(); ++i) set(to, i, get(from, i));
    }
    const TestTensor max_logit = max_logit_of(run);
    attention_forward(run.context, run.shape, q_columns, k_columns, run.v.tensor, {},
                      run.out.tensor, run.lse.tensor, max_logit.tensor);
    const Values exact = plain_max_logit(run);
    expect_near(max_logit.tensor, exact, max_logit_error(run, exact));
  }
}

// A score that is no number, or infinite, is neither lost nor forgotten, and stays with its head.
TEST(AttentionMaxLogit, NanStays) {
  for (const DType type : all_types()) {
    for (const double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
      AttentionRun run(attention_shape(head_mappings()[0], 1, 150, 0, 64), type);
      AttentionRun sound(run, type);
      const std::int64_t key = 40 * run.k.tensor.dim(1) + 64;  // of head 1
      set(run.k.tensor, key, bad);
      set(run.q.tensor, 149 * run.q.tensor.dim(1) + 64, 1);
      const TestTensor max_logit = max_logit_of(run);
      forward(run, max_logit.tensor);
      for (int call = 0; call < 2; ++call) {
        EXPECT_TRUE(std::isnan(get(max_logit.tensor, 1))) << call;
        EXPECT_TRUE(std::isfinite(get(max_logit.tensor, 0))) << call;
        EXPECT_TRUE(std::isfinite(get(max_logit.tensor, 2))) << call;
        forward(sound, max_logit.tensor);
      }
    }
  }
}

TEST(AttentionMaxLogit, TakesItsMemoryFromTheArena) {
  AttentionRun run(attention_shape(head_mappings()[3], 1, 130, 0, 16), DType::f32);
  const TestTensor max_logit = max_logit_of(run);
  forward(run, max_logit.tensor);
  EXPECT_EQ(run.context.arena().mark().used, 0U);
}

TEST(AttentionMaxLogit, ComplaintsNameIt) {
  AttentionRun run(attention_shape(head_mappings()[0], 1, 5, 0, 4), DType::bf16);
  const TestTensor narrow(DType::f32, {2});
  expect_error([&] { forward(run, narrow.tensor); },
               "[attention_forward] max_logit: expected fp32[3], got fp32[2]");
  const TestTensor rounded(DType::bf16, {3});
  expect_error([&] { forward(run, rounded.tensor); },
               "[attention_forward] max_logit: expected fp32[3], got bf16[3]");
}

}  // namespace
}  // namespace gda::test
