#include "gda/ops/embedding.h"

#include <omp.h>

#include "support/op_test.h"

namespace gda::test {
namespace {

constexpr DType kComputeTypes[] = {DType::f64, DType::f32, DType::bf16};

TEST(Embedding, ForwardCopiesRows) {
  const TestContext context;
  for (const DType dtype : kComputeTypes) {
    for (const std::int64_t width : {1, 7, 96}) {
      const TestTensor token = random_indices("token", {133}, 11);
      const TestTensor table = random_tensor("table", dtype, {11, width});
      const TestTensor y(dtype, {133, width});
      embedding_forward(context, token.tensor, table.tensor, y.tensor);
      for (std::int64_t n = 0; n < 133; ++n) {
        const auto id = static_cast<std::int64_t>(get(token.tensor, n));
        ASSERT_EQ(values(y.tensor.rows(n, 1)), values(table.tensor.rows(id, 1))) << n;
      }
    }
  }
}

// The sums of `dy` by token on top of `before`, in the order of the tokens.
TestTensor plain_backward(const Tensor& token, const Tensor& dy, const Tensor& before) {
  TestTensor sum = cast(before, before.dtype());
  const std::int64_t width = dy.dim(1);
  for (std::int64_t n = 0; n < token.dim(0); ++n) {
    const auto id = static_cast<std::int64_t>(get(token, n));
    for (std::int64_t d = 0; d < width; ++d) {
      const std::int64_t at = id * width + d;
      set(sum.tensor, at, get(sum.tensor, at) + get(dy, n * width + d));
    }
  }
  return sum;
}

TEST(Embedding, BackwardAddsInTheOrderOfTokensWithAnyNumberOfThreads) {
  const TestContext context;
  const int threads = omp_get_max_threads();
  for (const DType dtype : kComputeTypes) {
    for (const std::int64_t width : {1, 16, 17, 100}) {
      const TestTensor token = random_indices("token", {257}, 5);
      const TestTensor dy = random_tensor("dy", dtype, {257, width});
      const TestTensor before = random_tensor("before", accumulate_type(dtype), {5, width});
      const TestTensor expected = plain_backward(token.tensor, dy.tensor, before.tensor);
      for (const int count : {1, 2, 3}) {
        omp_set_num_threads(count);
        const TestTensor dtable = cast(before.tensor, before.tensor.dtype());
        embedding_backward(context, token.tensor, dy.tensor, dtable.tensor);
        // An f32 sum rounded from f64 is the f32 sum: the same bits.
        EXPECT_EQ(max_difference(dtable.tensor, expected.tensor), 0)
            << name_of(dtype) << " width " << width << " threads " << count;
      }
    }
  }
  omp_set_num_threads(threads);
}

// Places of a token that lie further apart than the tiles in which a GPU looks for them, and rows
// longer than its blocks.
TEST(Embedding, BackwardFindsRareTokens) {
  const TestContext context;
  for (const DType dtype : kComputeTypes) {
    const TestTensor token = random_indices("token", {900}, 3);
    for (const std::int64_t n : {2, 255, 600, 899}) set(token.tensor, n, 3);
    for (const std::int64_t n : {300, 870}) set(token.tensor, n, 4);
    const TestTensor dy = random_tensor("dy", dtype, {900, 300});
    const TestTensor before = random_tensor("before", accumulate_type(dtype), {5, 300});
    const TestTensor expected = plain_backward(token.tensor, dy.tensor, before.tensor);
    embedding_backward(context, token.tensor, dy.tensor, before.tensor);
    EXPECT_EQ(max_difference(before.tensor, expected.tensor), 0) << name_of(dtype);
  }
}

TEST(Embedding, GradientOfTable) {
  const TestContext context;
  const TestTensor token = random_indices("token", {9}, 4);
  const TestTensor table = random_tensor("table", DType::f64, {4, 3});
  const TestTensor dy = random_tensor("dy", DType::f64, {9, 3});
  const TestTensor y(DType::f64, {9, 3});
  const TestTensor dtable(DType::f64, {4, 3});
  embedding_backward(context, token.tensor, dy.tensor, dtable.tensor);
  expect_gradient(table.tensor, dtable.tensor, [&] {
    embedding_forward(context, token.tensor, table.tensor, y.tensor);
    return dot(y.tensor, dy.tensor);
  });
}

TEST(Embedding, RefusesIdsOutsideTheTable) {
  const TestContext context;
  const TestTensor token(DType::i32, {3});
  const TestTensor table(DType::f32, {5, 2});
  const TestTensor y(DType::f32, {3, 2});
  set(token.tensor, 1, 5);
  if (on_cuda()) {
    embedding_forward(context, token.tensor, table.tensor, y.tensor);
    EXPECT_TRUE(std::isnan(get(y.tensor, 2)) && std::isnan(get(y.tensor, 3)));
    EXPECT_EQ(get(y.tensor, 1), 0);
    fill(y.tensor, 1);
    embedding_backward(context, token.tensor, y.tensor, table.tensor);
    EXPECT_EQ(max_abs(table.tensor), 2);  // of the two tokens with id 0
    return;
  }
  expect_error([&] { embedding_forward(context, token.tensor, table.tensor, y.tensor); },
               "[embedding_forward] token 1 has id 5, but the table has rows 0 to 4");
  set(token.tensor, 1, -1);
  expect_error([&] { embedding_backward(context, token.tensor, y.tensor, table.tensor); },
               "[embedding_backward] token 1 has id -1, but the table has rows 0 to 4");
}

TEST(Embedding, RefusesBadArguments) {
  const TestContext context;
  const TestTensor token(DType::i32, {3});
  const TestTensor table(DType::bf16, {5, 2});
  const TestTensor y(DType::bf16, {3, 2});
  expect_error(
      [&] {
        embedding_forward(context, token.tensor, table.tensor,
                          TestTensor(DType::bf16, {3, 3}).tensor);
      },
      "[embedding_forward] y: expected bf16[3, 2], got bf16[3, 3]");
  expect_error(
      [&] {
        embedding_forward(context, token.tensor, table.tensor,
                          TestTensor(DType::f32, {3, 2}).tensor);
      },
      "[embedding_forward] table: expected fp32[5, 2], got bf16[5, 2]");
  expect_error([&] { embedding_forward(context, y.tensor, table.tensor, y.tensor); },
               "[embedding_forward] expected token of rank 1 and table of rank 2, got bf16[3, 2]");
  expect_error([&] { embedding_backward(context, token.tensor, y.tensor, table.tensor); },
               "[embedding_backward] dtable: expected fp32[5, 2], got bf16[5, 2]");
}

}  // namespace
}  // namespace gda::test
