// Without the CUDA backend every operator says which build option it lacks.
#include "gda/ops/adamw.h"
#include "gda/ops/attention.h"
#include "gda/ops/differential.h"
#include "gda/ops/elementwise.h"
#include "gda/ops/embedding.h"
#include "gda/ops/gated_activation.h"
#include "gda/ops/linear_cross_entropy.h"
#include "gda/ops/matmul.h"
#include "gda/ops/rms_norm.h"
#include "gda/ops/rope.h"
#include "support/op_test.h"

namespace gda::test {
namespace {

class MissingCuda : public testing::Test {
 protected:
  // Looks like memory of a CUDA device; nothing reads it.
  Tensor on_cuda(DType dtype, Shape shape) {
    return {numbers_, dtype, shape, {DeviceType::cuda, 0}};
  }
  static std::string message(std::string_view op) {
    return fmt::format("[{}] this build has no CUDA implementation (configured with GDA_CUDA=OFF)",
                       op);
  }

  double numbers_[16]{};
  Arena arena_;
  Context context_{.stream = {.device = {DeviceType::cuda, 0}}, .arena = arena_};
};

TEST_F(MissingCuda, Matmul) {
  const Tensor x = on_cuda(DType::f32, {2, 2});
  expect_error([&] { matmul(context_, x, x, x); }, message("matmul"));
  expect_error(
      [&] {
        bf16_matmul_is_native({DeviceType::cuda, 0});
      },
      message("bf16_matmul_is_native"));
}

TEST_F(MissingCuda, Memory) {
  expect_error(
      [] {
        const Buffer buffer(16, {DeviceType::cuda, 0});
      },
      "[buffer] there is no cuda:0: this build has no CUDA backend (GDA_CUDA=OFF)");
}

TEST_F(MissingCuda, Attention) {
  const AttentionShape shape{.batch = 1,
                             .query_length = 2,
                             .key_length = 2,
                             .head_dim = 2,
                             .value_dim = 2,
                             .key_head = {0},
                             .value_head = {0},
                             .key_heads = 1,
                             .value_heads = 1};
  const Tensor x = on_cuda(DType::f32, {2, 2});
  const Tensor lse = on_cuda(DType::f32, {2, 1});
  expect_error([&] { attention_forward(context_, shape, x, x, x, {}, x, lse); },
               message("attention_forward"));
  expect_error([&] { attention_backward(context_, shape, x, x, x, {}, x, lse, x, x, x, x); },
               message("attention_backward"));
}

TEST_F(MissingCuda, Elementwise) {
  const Tensor x = on_cuda(DType::f32, {2, 2});
  expect_error([&] { fill_zero(context_, x); }, message("fill_zero"));
  expect_error([&] { convert(context_, x, x); }, message("convert"));
  const Tensor rounded = on_cuda(DType::bf16, {2, 2});
  expect_error(
      [&] { stochastic_round(context_, x, rounded, Philox(1, RandomPurpose::test), 0, 0); },
      message("stochastic_round"));
  expect_error([&] { add(context_, x, x); }, message("add"));
  expect_error([&] { scale_columns(context_, x, on_cuda(DType::f32, {2}), x); },
               message("scale_columns"));
  expect_error([&] { axpby(context_, 1, x, 1, x); }, message("axpby"));
  expect_error([&] { sum_of_squares(context_, x, on_cuda(DType::f64, {1})); },
               message("sum_of_squares"));
}

TEST_F(MissingCuda, Embedding) {
  const Tensor x = on_cuda(DType::f32, {2, 2});
  const Tensor token = on_cuda(DType::i32, {2});
  expect_error([&] { embedding_forward(context_, token, x, x); }, message("embedding_forward"));
  expect_error([&] { embedding_backward(context_, token, x, x); }, message("embedding_backward"));
}

TEST_F(MissingCuda, LinearCrossEntropy) {
  const Tensor x = on_cuda(DType::f32, {2, 2});
  const Tensor target = on_cuda(DType::i32, {2});
  const Tensor loss = on_cuda(DType::f32, {2});
  expect_error([&] { linear_cross_entropy_forward(context_, x, x, target, loss); },
               message("linear_cross_entropy_forward"));
  expect_error(
      [&] { linear_cross_entropy_forward_backward(context_, x, x, target, 1, loss, x, x); },
      message("linear_cross_entropy_forward_backward"));
}

TEST_F(MissingCuda, AdamW) {
  const Tensor x = on_cuda(DType::f32, {2});
  expect_error([&] { adamw_update(context_, {}, x, x, x, x, {}); }, message("adamw_update"));
}

TEST_F(MissingCuda, RmsNorm) {
  const Tensor x = on_cuda(DType::f32, {2, 2});
  const Tensor w = on_cuda(DType::f32, {2});
  expect_error([&] { rms_norm_forward(context_, x, w, 0, x, w); }, message("rms_norm_forward"));
  expect_error([&] { rms_norm_backward(context_, x, x, w, w, {}, x, w); },
               message("rms_norm_backward"));
}

TEST_F(MissingCuda, Rope) {
  const Tensor x = on_cuda(DType::f32, {2, 2});
  const Tensor position = on_cuda(DType::i32, {2});
  const Tensor table = on_cuda(DType::f32, {2, 1, 1});
  expect_error([&] { make_rope_table(1e4, {}, 1, 2, DType::f32, context_.device()); },
               "[buffer] there is no cuda:0: this build has no CUDA backend (GDA_CUDA=OFF)");
  expect_error([&] { rope_forward(context_, x, position, table); }, message("rope_forward"));
  expect_error([&] { rope_backward(context_, x, position, table); }, message("rope_backward"));
}

TEST_F(MissingCuda, GatedActivation) {
  const Tensor x = on_cuda(DType::f32, {2, 2});
  const Tensor w = on_cuda(DType::f32, {3});
  const Tensor b = on_cuda(DType::f32, {1});
  expect_error([&] { swiglu_forward(context_, x, x, x); }, message("swiglu_forward"));
  expect_error([&] { swiglu_backward(context_, x, x, x, x, x); }, message("swiglu_backward"));
  expect_error([&] { poly_norm_forward(context_, x, x, w, b, x); }, message("poly_norm_forward"));
  expect_error([&] { poly_norm_backward(context_, x, x, w, b, x, x, x, w, b); },
               message("poly_norm_backward"));
}

TEST_F(MissingCuda, Differential) {
  const Tensor x = on_cuda(DType::f32, {2, 2});
  const Tensor y = on_cuda(DType::f32, {2, 1});
  const Tensor one = on_cuda(DType::f32, {1});
  const DifferentialShape shape{.noise_heads = 1, .ratio = 1, .value_dim = 1};
  const LambdaVectors vectors{one, one, one, one};
  expect_error([&] { lambda_forward(context_, vectors, 0, one); }, message("lambda_forward"));
  expect_error([&] { lambda_backward(context_, vectors, one, vectors); },
               message("lambda_backward"));
  expect_error([&] { differential_forward(context_, shape, x, one, one, y, y); },
               message("differential_forward"));
  expect_error([&] { differential_backward(context_, shape, x, one, one, y, y, x, one, one); },
               message("differential_backward"));
  expect_error([&] { gated_difference_forward(context_, x, y, y); },
               message("gated_difference_forward"));
  expect_error([&] { gated_difference_backward(context_, x, y, y, x, y); },
               message("gated_difference_backward"));
}

}  // namespace
}  // namespace gda::test
