#include <functional>

#include "attention_cases.h"

namespace gda::test {
namespace {

// Runs both directions after `change` and expects the same complaint from each.
void expect_refused(const std::function<void(AttentionRun&)>& change, const std::string& text) {
  AttentionRun run(attention_shape(head_mappings()[2], 2, 5, 3, 4), DType::f32);
  change(run);
  expect_error([&] { run.forward(); }, "[attention_forward] " + text);
  expect_error(
      [&] {
        attention_backward(run.context, run.shape, run.q.tensor, run.k.tensor, run.v.tensor,
                           run.first_key.tensor, run.out.tensor, run.lse.tensor, run.dout.tensor,
                           run.dq.tensor, run.dk.tensor, run.dv.tensor);
      },
      "[attention_backward] " + text);
}

TEST(AttentionErrors, Shape) {
  expect_refused([](AttentionRun& run) { run.shape.batch = 0; },
                 "batch 0, query_length 5, key_length 8: expected at least 1 each");
  expect_refused([](AttentionRun& run) { run.shape.head_dim = 0; },
                 "head_dim 0, value_dim 8, key_heads 4, value_heads 2: expected at least 1 each");
  expect_refused([](AttentionRun& run) { run.shape.query_offset = 4; },
                 "query_offset 4 + query_length 5: expected an offset of at least 0 and a sum of "
                 "at most key_length 8");
  expect_refused([](AttentionRun& run) { run.shape.query_offset = -1; },
                 "query_offset -1 + query_length 5");
  expect_refused([](AttentionRun& run) { run.shape.key_length = std::int64_t{1} << 31; },
                 "key_length 2147483648: expected at most 2147483647");
}

TEST(AttentionErrors, HeadMaps) {
  expect_refused([](AttentionRun& run) { run.shape.key_head.pop_back(); },
                 "key_head names 3 query heads, value_head 4: expected as many");
  expect_refused(
      [](AttentionRun& run) {
        run.shape.key_head.clear();
        run.shape.value_head.clear();
      },
      "key_head names 0 query heads");
  expect_refused([](AttentionRun& run) { run.shape.key_head[2] = 4; },
                 "key_head[2] = 4: expected a head in [0, 4)");
  expect_refused([](AttentionRun& run) { run.shape.value_head[1] = -1; },
                 "value_head[1] = -1: expected a head in [0, 2)");
}

TEST(AttentionErrors, Tensors) {
  expect_refused(
      [](AttentionRun& run) {
        run.q = TestTensor(DType::i32, {10, 16});
      },
      "expected fp64, fp32 or bf16, got int32[10, 16]");
  expect_refused(
      [](AttentionRun& run) {
        run.q = TestTensor(DType::f32, {10, 15});
      },
      "q: expected fp32[10, 16], got fp32[10, 15]");
  expect_refused(
      [](AttentionRun& run) {
        run.k = TestTensor(DType::bf16, {16, 16});
      },
      "k: expected fp32[16, 16], got bf16[16, 16]");
  expect_refused([](AttentionRun& run) { run.v = {}; }, "v: expected fp32[16, 16]");
  expect_refused(
      [](AttentionRun& run) {
        run.out = TestTensor(DType::f32, {10, 16});
      },
      "out: expected fp32[10, 32], got fp32[10, 16]");
  expect_refused(
      [](AttentionRun& run) {
        run.lse = TestTensor(DType::f64, {10, 4});
      },
      "lse: expected fp32[10, 4], got fp64[10, 4]");
}

TEST(AttentionErrors, FirstKey) {
  if (on_cuda()) GTEST_SKIP() << "starts of documents are not checked on a GPU";
  expect_refused([](AttentionRun& run) { run.first_key = TestTensor(DType::i32, {5}); },
                 "first_key: expected int32[10], got int32[5]");
  expect_refused(
      [](AttentionRun& run) {
        run.first_key = TestTensor(DType::i32, {10});
        set(run.first_key.tensor, 6, 5);  // query 1 of sequence 1 stands at position 4
      },
      "first_key[6] = 5: expected a key in [0, 4]");
  expect_refused(
      [](AttentionRun& run) {
        run.first_key = TestTensor(DType::i32, {10});
        set(run.first_key.tensor, 0, -1);
      },
      "first_key[0] = -1: expected a key in [0, 3]");
}

TEST(AttentionErrors, Gradients) {
  const auto refused = [](TestTensor AttentionRun::*gradient, const std::string& text) {
    AttentionRun run(attention_shape(head_mappings()[2], 2, 5, 3, 4), DType::f32);
    run.*gradient = TestTensor(DType::f32, {3, 3});
    expect_error(
        [&] {
          attention_backward(run.context, run.shape, run.q.tensor, run.k.tensor, run.v.tensor, {},
                             run.out.tensor, run.lse.tensor, run.dout.tensor, run.dq.tensor,
                             run.dk.tensor, run.dv.tensor, run.delta.tensor);
        },
        "[attention_backward] " + text);
  };
  refused(&AttentionRun::dout, "dout: expected fp32[10, 32], got fp32[3, 3]");
  refused(&AttentionRun::dq, "dq: expected fp32[10, 16], got fp32[3, 3]");
  refused(&AttentionRun::dk, "dk: expected fp32[16, 16], got fp32[3, 3]");
  refused(&AttentionRun::dv, "dv: expected fp32[16, 16], got fp32[3, 3]");
  refused(&AttentionRun::delta, "delta: expected fp32[10, 4], got fp32[3, 3]");
}

}  // namespace
}  // namespace gda::test
