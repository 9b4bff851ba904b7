#include "gda/ops/attention.h"

#include <omp.h>

#include <array>
#include <utility>

#include "attention_cases.h"
#include "support/op_test.h"

namespace gda::test {
namespace {

class AttentionMapping : public testing::TestWithParam<HeadMapping> {};
INSTANTIATE_TEST_SUITE_P(All, AttentionMapping, testing::ValuesIn(head_mappings()),
                         [](const auto& test) { return test.param.name; });

TEST_P(AttentionMapping, GradientsMatchFiniteDifferences) {
  for (const bool documents : {false, true}) {
    AttentionRun run(attention_shape(GetParam(), 2, 4, 2, 3), DType::f64);
    if (documents) run.first_key = document_starts(run.shape, 3);
    run.forward();
    run.backward();
    const auto loss = [&] {
      run.forward();
      return dot(run.out.tensor, run.dout.tensor);
    };
    const GradientCheck check{.tolerance = 1e-9, .max_probes = 24};
    expect_gradient(run.q.tensor, run.dq.tensor, loss, check);
    expect_gradient(run.k.tensor, run.dk.tensor, loss, check);
    expect_gradient(run.v.tensor, run.dv.tensor, loss, check);
  }
}

TEST_P(AttentionMapping, TypesMatchReference) {
  for (const DType type : judged_types()) {
    for (const bool documents : {false, true}) {
      AttentionRun run(attention_shape(GetParam(), 2, 65, 40, 20), type);
      if (documents) run.first_key = document_starts(run.shape);
      expect_like_reference(run);
    }
  }
}

TEST(Attention, LengthsAroundTiles) {
  const HeadMapping ratio_3 = head_mappings()[3];
  for (const std::int64_t length : {1, 2, 47, 48, 49, 63, 64, 65, 96, 97, 130, 193}) {
    AttentionRun run(attention_shape(ratio_3, 1, length, 0, 8), DType::f32);
    expect_like_reference(run);
  }
  for (const std::int64_t offset : {1, 47, 95, 96, 130}) {
    AttentionRun run(attention_shape(ratio_3, 1, 50, offset, 8), DType::bf16);
    expect_like_reference(run);
  }
}

TEST(Attention, HeadDimensions) {
  for (const HeadMapping& mapping : {head_mappings()[0], head_mappings()[2]}) {
    for (const std::int64_t d : {1, 7, 8, 20, 64, 80, 96, 128}) {
      AttentionRun run(attention_shape(mapping, 1, 70, 0, d), DType::f32);
      expect_like_reference(run);
    }
  }
}

// The widths of tensor core kernels, with rows that end within tiles.
TEST(Attention, WidthsOfTensorCores) {
  for (const std::int64_t d : {64, 96, 128}) {
    for (const HeadMapping& mapping : {head_mappings()[1], head_mappings()[3]}) {
      AttentionRun run(attention_shape(mapping, 2, 67, 0, d), DType::bf16);
      run.first_key = document_starts(run.shape);
      expect_like_reference(run);
    }
  }
  for (const std::int64_t offset : {1, 70}) {
    AttentionRun run(attention_shape(head_mappings()[4], 1, 33, offset, 64), DType::bf16);
    expect_like_reference(run);
  }
}

// factor * <dout, out> of each query and head.
TestTensor delta_of(const AttentionRun& run, double factor) {
  TestTensor delta(run.lse.tensor.dtype(), run.lse.tensor.shape());
  for (std::int64_t i = 0; i < delta.tensor.elements(); ++i) {
    double sum = 0;
    for (std::int64_t n = i * run.shape.value_dim; n < (i + 1) * run.shape.value_dim; ++n) {
      sum += get(run.dout.tensor, n) * get(run.out.tensor, n);
    }
    set(delta.tensor, i, factor * sum);
  }
  return delta;
}

// Gradients are linear in delta, and those of <dout, out> are the gradients: q's by c D of c delta,
// where D is what delta takes away. In f64 sums of at most 40 terms of size 1 differ by 1e-13.
TEST(Attention, TakesTheCallersDelta) {
  AttentionRun run(attention_shape(head_mappings()[3], 2, 40, 3, 6), DType::f64);
  run.first_key = document_starts(run.shape);
  run.forward();
  run.backward();
  AttentionRun with[] = {{run, DType::f64}, {run, DType::f64}, {run, DType::f64}};
  for (int factor = 0; factor < 3; ++factor) {
    AttentionRun& each = with[factor];
    each.forward();
    each.delta = delta_of(run, factor);
    each.backward();
    EXPECT_EQ(values(each.dv.tensor), values(run.dv.tensor));
  }
  for (TestTensor AttentionRun::*gradient : {&AttentionRun::dq, &AttentionRun::dk}) {
    const auto at = [&](const AttentionRun& each, std::int64_t i) {
      return get((each.*gradient).tensor, i);
    };
    EXPECT_GT(max_difference((with[0].*gradient).tensor, (run.*gradient).tensor), 0.1);
    EXPECT_LE(max_difference((with[1].*gradient).tensor, (run.*gradient).tensor), 1e-13);
    for (std::int64_t i = 0; i < (run.*gradient).tensor.elements(); ++i) {
      EXPECT_NEAR(at(with[2], i) - at(with[1], i), at(with[1], i) - at(with[0], i), 1e-13);
    }
  }
}

// -<dout, out>, which is no gradient's but as large, so that the bounds hold.
TEST(Attention, TypesMatchReferenceWithTheCallersDelta) {
  for (const HeadMapping& mapping : {head_mappings()[3], head_mappings()[6]}) {
    for (const auto& [type, d] : {std::pair(DType::f32, 20), std::pair(DType::bf16, 20),
                                  std::pair(DType::bf16, 64), std::pair(DType::bf16, 128)}) {
      AttentionRun run(attention_shape(mapping, 2, 67, 30, d), type);
      run.first_key = document_starts(run.shape);
      run.forward();
      run.delta = delta_of(run, -1);
      expect_like_reference(run);
    }
  }
}

// softmax(0) is uniform: out is the mean of the values seen, and lse the logarithm of their number.
TEST(Attention, EqualScoresAverageTheValues) {
  AttentionRun run(attention_shape(head_mappings()[0], 1, 100, 0, 4), DType::f32);
  fill(run.q.tensor, 0);
  run.forward();
  const std::int64_t width = run.v.tensor.dim(1);
  std::vector<double> sum(static_cast<std::size_t>(width));
  for (std::int64_t i = 0; i < 100; ++i) {
    for (std::int64_t n = 0; n < width; ++n) {
      sum[static_cast<std::size_t>(n)] += get(run.v.tensor, i * width + n);
      EXPECT_NEAR(get(run.out.tensor, i * width + n),
                  sum[static_cast<std::size_t>(n)] / static_cast<double>(i + 1), 1e-5);
    }
    EXPECT_NEAR(get(run.lse.tensor, i * 3), std::log(static_cast<double>(i + 1)), 1e-5);
  }
}

// Scores near +-1e4 would overflow without the running maximum.
TEST(Attention, LargeScoresDoNotOverflow) {
  AttentionRun run(attention_shape(head_mappings()[0], 1, 130, 0, 4), DType::f32);
  for (std::int64_t i = 0; i < run.q.tensor.elements(); ++i) {
    set(run.q.tensor, i, 100 * get(run.q.tensor, i));
    set(run.k.tensor, i, 100 * get(run.k.tensor, i));
  }
  run.forward();
  run.backward();
  for (const TestTensor* result : {&run.out, &run.lse, &run.dq, &run.dk, &run.dv}) {
    EXPECT_TRUE(std::isfinite(max_abs(result->tensor)));
  }
  EXPECT_LE(max_abs(run.out.tensor), max_abs(run.v.tensor) * (1 + 1e-5));
}

// Queries before it may be reached as well (zero times NaN), but not the tile before.
TEST(Attention, NanReachesEveryQueryThatSeesIt) {
  for (const DType type : {DType::f64, DType::f32, DType::bf16}) {
    for (const bool in_key : {true, false}) {
      AttentionRun run(attention_shape(head_mappings()[0], 1, 70, 0, 4), type);
      const std::int64_t width = run.k.tensor.dim(1);
      set(in_key ? run.k.tensor : run.v.tensor, 55 * width + 5, NAN);  // head 1, key 55
      run.forward();
      run.backward();
      for (std::int64_t i = 0; i < 70; ++i) {
        EXPECT_FALSE(std::isnan(get(run.out.tensor, i * width))) << i;  // head 0
        if (i < 48) {
          EXPECT_FALSE(std::isnan(get(run.out.tensor, i * width + 5))) << i;
        }
        if (i < 55) continue;
        EXPECT_TRUE(std::isnan(get(run.out.tensor, i * width + 5))) << i;
        EXPECT_TRUE(std::isnan(get(run.dq.tensor, i * width + 5))) << i;
      }
    }
  }
}

TEST(Attention, SameBitsOnAnyNumberOfThreads) {
  const int threads = omp_get_max_threads();
  for (const std::int64_t batch : {1, 9}) {  // split by queries, and whole
    std::vector<std::vector<double>> results;
    for (const int count : {1, 2, 3}) {
      omp_set_num_threads(count);
      AttentionRun run(attention_shape(head_mappings()[3], batch, 130, 0, 8), DType::f32);
      run.forward();
      run.backward();
      std::vector<double> all;
      for (const TestTensor* result : {&run.out, &run.lse, &run.dq, &run.dk, &run.dv}) {
        const std::vector<double> some = values(result->tensor);
        all.insert(all.end(), some.begin(), some.end());
      }
      results.push_back(std::move(all));
    }
    EXPECT_EQ(results[0], results[1]);
    EXPECT_EQ(results[0], results[2]);
  }
  omp_set_num_threads(threads);
}

TEST(Attention, DocumentsAreIsolated) {
  for (const DType type : {DType::f64, DType::f32, DType::bf16}) {
    AttentionRun run(attention_shape(head_mappings()[2], 1, 150, 0, 8), type);
    run.first_key = document_starts(run.shape);
    AttentionRun changed(run, type);
    const std::int64_t row = 80;  // in the document [74, 111)
    for (Tensor tensor : {changed.q.tensor, changed.k.tensor, changed.v.tensor}) {
      const Tensor token = tensor.rows(row, 1);
      for (std::int64_t i = 0; i < token.elements(); ++i) set(token, i, 3 - get(token, i));
    }
    for (AttentionRun* each : {&run, &changed}) {
      each->forward();
      each->backward();
    }
    for (std::int64_t i = 0; i < 150; ++i) {
      const bool same_document = i >= 74 && i < 111;
      EXPECT_EQ(values(run.out.tensor.rows(i, 1)) == values(changed.out.tensor.rows(i, 1)),
                !same_document || i < row);
      for (const auto& [a, b] : {std::pair(&run.dq, &changed.dq), std::pair(&run.dk, &changed.dk),
                                 std::pair(&run.dv, &changed.dv)}) {
        if (same_document) continue;
        EXPECT_EQ(values(a->tensor.rows(i, 1)), values(b->tensor.rows(i, 1)));
      }
    }
  }
}

TEST(Attention, DecodingEqualsTheWholeSequence) {
  for (const DType type : {DType::f64, DType::f32, DType::bf16}) {
    AttentionRun whole(attention_shape(head_mappings()[3], 1, 130, 0, 16), type);
    whole.forward();
    for (const std::int64_t count : {1, 3}) {
      for (const std::int64_t position : {0, 48, 95, 127}) {
        AttentionShape step = whole.shape;
        step.query_length = count;
        step.query_offset = position;
        step.key_length = position + count;
        AttentionRun decode(step, type, cast(whole.q.tensor.rows(position, count), type),
                            cast(whole.k.tensor.rows(0, step.key_length), type),
                            cast(whole.v.tensor.rows(0, step.key_length), type),
                            cast(whole.dout.tensor.rows(position, count), type));
        decode.forward();
        AttentionRun exact(whole, DType::f64);
        exact.forward();
        exact.backward();
        const AttentionBounds bounds(exact, type);
        EXPECT_LE(max_difference(decode.out.tensor, whole.out.tensor.rows(position, count)),
                  2 * bounds.out_error);
      }
    }
  }
}

// A cache has room for more keys than there are: the rest must not matter.
TEST(Attention, KeysAfterTheLastQueryAreNotRead) {
  AttentionRun exact(attention_shape(head_mappings()[2], 1, 60, 0, 8), DType::f32);
  exact.forward();
  AttentionShape longer = exact.shape;
  longer.key_length = 100;
  AttentionRun run(longer, DType::f32, cast(exact.q.tensor, DType::f32),
                   random_tensor("long k", DType::f32, AttentionRun::k_shape(longer)),
                   random_tensor("long v", DType::f32, AttentionRun::v_shape(longer)),
                   cast(exact.dout.tensor, DType::f32));
  fill(run.k.tensor, NAN);
  fill(run.v.tensor, NAN);
  for (std::int64_t i = 0; i < exact.k.tensor.elements(); ++i) {
    set(run.k.tensor, i, get(exact.k.tensor, i));
  }
  for (std::int64_t i = 0; i < exact.v.tensor.elements(); ++i) {
    set(run.v.tensor, i, get(exact.v.tensor, i));
  }
  run.forward();
  EXPECT_EQ(values(run.out.tensor), values(exact.out.tensor));
  run.backward();
  EXPECT_EQ(max_abs(run.dk.tensor.rows(60, 40)), 0);
  EXPECT_EQ(max_abs(run.dv.tensor.rows(60, 40)), 0);
}

// q, k and v as column blocks of one matrix, and their gradients too.
TEST(Attention, StridedRows) {
  for (const DType type : {DType::f64, DType::f32, DType::bf16}) {
    AttentionRun run(attention_shape(head_mappings()[2], 2, 50, 0, 10), type);
    run.forward();
    run.backward();
    const std::int64_t q = run.q.tensor.dim(1);
    const std::int64_t k = run.k.tensor.dim(1);
    const std::int64_t v = run.v.tensor.dim(1);
    const std::int64_t rows = run.q.tensor.dim(0);
    TestTensor fused(type, {rows, q + k + v + 3});
    TestTensor gradients(type, {rows, q + k + v + 3});
    TestTensor outputs(type, {rows, 2 * run.out.tensor.dim(1)});
    const auto parts = [&](const Tensor& whole) {
      return std::array{whole.columns(0, q), whole.columns(q, k), whole.columns(q + k, v)};
    };
    const auto in = parts(fused.tensor);
    const auto grad = parts(gradients.tensor);
    const std::array sources{run.q.tensor, run.k.tensor, run.v.tensor};
    for (std::size_t t = 0; t < 3; ++t) {
      for (std::int64_t i = 0; i < sources[t].elements(); ++i) set(in[t], i, get(sources[t], i));
    }
    fill(gradients.tensor, 5);
    const Tensor out = outputs.tensor.columns(3, run.out.tensor.dim(1));
    attention_forward(run.context, run.shape, in[0], in[1], in[2], {}, out, run.lse.tensor);
    EXPECT_EQ(values(out), values(run.out.tensor));
    attention_backward(run.context, run.shape, in[0], in[1], in[2], {}, out, run.lse.tensor,
                       run.dout.tensor, grad[0], grad[1], grad[2]);
    EXPECT_EQ(values(grad[0]), values(run.dq.tensor));
    EXPECT_EQ(values(grad[1]), values(run.dk.tensor));
    EXPECT_EQ(values(grad[2]), values(run.dv.tensor));
    EXPECT_EQ(get(gradients.tensor, q + k + v), 5);  // what lies beside them is left alone
  }
}

TEST(Attention, TakesNothingFromTheSystemTheSecondTime) {
  AttentionRun run(attention_shape(head_mappings()[3], 1, 130, 0, 16), DType::f32);
  run.forward();
  run.backward();
  const std::size_t capacity = run.context.arena().capacity();
  run.forward();
  run.backward();
  EXPECT_EQ(run.context.arena().capacity(), capacity);
  EXPECT_EQ(run.context.arena().mark().used, 0U);
}

}  // namespace
}  // namespace gda::test
