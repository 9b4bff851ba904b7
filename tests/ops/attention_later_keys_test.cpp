// Keys behind the last query: a chunk of queries in the midst of its sequence, whose keys are all
// there (context parallelism gathers them).
#include <deque>

#include "attention_cases.h"

namespace gda::test {
namespace {

// Types and head widths for which devices have implementations of their own.
struct Kind {
  DType type;
  std::int64_t head_dim;
};
std::vector<Kind> kinds() {
  return {{DType::f64, 20},  {DType::f32, 20},  {DType::bf16, 20},
          {DType::bf16, 64}, {DType::bf16, 96}, {DType::bf16, 128}};
}

AttentionShape chunk_shape(const HeadMapping& mapping, std::int64_t length, std::int64_t offset,
                           std::int64_t later_keys, std::int64_t head_dim) {
  AttentionShape shape = attention_shape(mapping, 2, length, offset, head_dim);
  shape.key_length += later_keys;
  return shape;
}

// A few rows of each sequence of a batch, rows [begin, begin + count) of its `length`.
TestTensor rows_of_chunk(const Tensor& x, std::int64_t length, std::int64_t begin,
                         std::int64_t count) {
  const std::int64_t batch = x.dim(0) / length;
  const std::int64_t width = x.rank() == 1 ? 1 : x.dim(1);
  TestTensor chunk(x.dtype(), x.rank() == 1 ? Shape{batch * count} : Shape{batch * count, width});
  const std::vector<double> all = values(x);
  std::vector<double> some;
  for (std::int64_t b = 0; b < batch; ++b) {
    const auto first = all.begin() + (b * length + begin) * width;
    some.insert(some.end(), first, first + count * width);
  }
  set_values(chunk.tensor, some);
  return chunk;
}

// Lengths that end within tiles of 48 queries and 96 keys, and of 64 and 128 of either; keys that
// no query sees in the last tile that has queries, and whole tiles of them.
TEST(AttentionLaterKeys, AreNotReadAndGetNoGradient) {
  for (const auto& [type, d] : kinds()) {
    for (const auto& [length, offset, later, documents] :
         {std::tuple(33, 70, 30, true), std::tuple(64, 64, 130, false),
          std::tuple(17, 0, 200, true)}) {
      SCOPED_TRACE(testing::Message() << name_of(type) << " d " << d << " T " << length);
      AttentionRun run(chunk_shape(head_mappings()[2], length, offset, later, d), type);
      if (documents) run.first_key = document_starts(run.shape);
      const auto later_rows = [&](const TestTensor& x, std::int64_t sequence) {
        return x.tensor.rows(sequence * run.shape.key_length + length + offset, later);
      };
      for (const TestTensor* x : {&run.k, &run.v}) {
        for (const std::int64_t sequence : {0, 1}) fill(later_rows(*x, sequence), NAN);
      }
      run.forward();
      run.backward();
      for (const TestTensor* result : {&run.out, &run.lse, &run.dq, &run.dk, &run.dv}) {
        EXPECT_FALSE(std::isnan(max_abs(result->tensor)));
      }
      for (const TestTensor* gradient : {&run.dk, &run.dv}) {
        for (const std::int64_t sequence : {0, 1}) {
          EXPECT_EQ(max_abs(later_rows(*gradient, sequence)), 0);
        }
      }
    }
  }
}

TEST(AttentionLaterKeys, MatchReference) {
  for (const auto& [type, d] : kinds()) {
    if (type == DType::f64 && !on_cuda()) continue;  // that is the reference
    for (const auto& [length, offset, later] : {std::tuple(33, 70, 30), std::tuple(64, 64, 130)}) {
      for (const std::size_t mapping : {std::size_t{1}, std::size_t{3}}) {
        AttentionRun run(chunk_shape(head_mappings()[mapping], length, offset, later, d), type);
        if (mapping == 3) run.first_key = document_starts(run.shape);
        expect_like_reference(run);
      }
    }
  }
}

// Chunks of the queries of sequences give what all queries do: out and dq row by row, dk and dv
// together, the largest logit by taking each other's.
TEST(AttentionLaterKeys, ChunksMakeUpTheWhole) {
  constexpr std::int64_t kLength = 132;
  constexpr std::int64_t kChunk = 33;
  for (const auto& [type, d] : kinds()) {
    SCOPED_TRACE(testing::Message() << name_of(type) << " d " << d);
    AttentionRun whole(chunk_shape(head_mappings()[2], kLength, 0, 0, d), type);
    whole.first_key = document_starts(whole.shape);
    const TestTensor largest(whole.lse.tensor.dtype(), {whole.shape.query_heads()});
    const TestTensor chunks_largest = cast(largest.tensor, largest.tensor.dtype());
    fill(largest.tensor, -INFINITY);
    fill(chunks_largest.tensor, -INFINITY);
    attention_forward(whole.context, whole.shape, whole.q.tensor, whole.k.tensor, whole.v.tensor,
                      whole.first_key.tensor, whole.out.tensor, whole.lse.tensor, largest.tensor);
    whole.backward();
    std::vector<double> dk(static_cast<std::size_t>(whole.dk.tensor.elements()));
    std::vector<double> dv(static_cast<std::size_t>(whole.dv.tensor.elements()));
    std::deque<AttentionRun> chunks;
    for (std::int64_t begin = 0; begin < kLength; begin += kChunk) {
      const auto rows = [&](const TestTensor& x) {
        return rows_of_chunk(x.tensor, kLength, begin, kChunk);
      };
      AttentionRun& chunk = chunks.emplace_back(
          chunk_shape(head_mappings()[2], kChunk, begin, kLength - begin - kChunk, d), type,
          rows(whole.q), cast(whole.k.tensor, type), cast(whole.v.tensor, type), rows(whole.dout));
      chunk.first_key = rows(whole.first_key);
      attention_forward(chunk.context, chunk.shape, chunk.q.tensor, chunk.k.tensor, chunk.v.tensor,
                        chunk.first_key.tensor, chunk.out.tensor, chunk.lse.tensor,
                        chunks_largest.tensor);
      chunk.backward();
      const std::vector<double> dk_term = values(chunk.dk.tensor);
      const std::vector<double> dv_term = values(chunk.dv.tensor);
      for (std::size_t i = 0; i < dk.size(); ++i) dk[i] += dk_term[i];
      for (std::size_t i = 0; i < dv.size(); ++i) dv[i] += dv_term[i];
    }
    const OnCpu judge;
    AttentionRun exact(whole, DType::f64);
    exact.forward();
    exact.backward();
    const AttentionBounds bounds(exact, type);
    // f64 errs by less than f32 would, in which the bounds are, and each term is rounded.
    const double u = type == DType::f64 ? std::ldexp(1.0, 24 - 53) : 1;
    const auto parts = static_cast<double>(chunks.size());
    for (std::size_t c = 0; c < chunks.size(); ++c) {
      const auto begin = static_cast<std::int64_t>(c) * kChunk;
      const auto difference = [&](const TestTensor& of_chunk, const TestTensor& of_whole) {
        return max_difference(of_chunk.tensor,
                              rows_of_chunk(of_whole.tensor, kLength, begin, kChunk).tensor);
      };
      EXPECT_LE(difference(chunks[c].out, whole.out), 2 * u * bounds.out_error);
      EXPECT_LE(difference(chunks[c].lse, whole.lse), 2 * u * bounds.lse_error);
      EXPECT_LE(difference(chunks[c].dq, whole.dq), 2 * u * bounds.dq_error);
    }
    const std::vector<double> whole_dk = values(whole.dk.tensor);
    const std::vector<double> whole_dv = values(whole.dv.tensor);
    for (std::size_t i = 0; i < dk.size(); ++i) {
      EXPECT_NEAR(dk[i], whole_dk[i], (1 + parts) * u * bounds.dk_error);
    }
    for (std::size_t i = 0; i < dv.size(); ++i) {
      EXPECT_NEAR(dv[i], whole_dv[i], (1 + parts) * u * bounds.dv_error);
    }
    EXPECT_LE(max_difference(chunks_largest.tensor, largest.tensor), 2 * u * bounds.lse_error);
  }
}

}  // namespace
}  // namespace gda::test
