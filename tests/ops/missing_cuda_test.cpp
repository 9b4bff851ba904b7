// Without the CUDA backend every operator says which build option it lacks.
#include "gda/ops/adamw.h"
#include "gda/ops/elementwise.h"
#include "gda/ops/embedding.h"
#include "gda/ops/linear_cross_entropy.h"
#include "gda/ops/matmul.h"
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

TEST_F(MissingCuda, Elementwise) {
  const Tensor x = on_cuda(DType::f32, {2, 2});
  expect_error([&] { fill_zero(context_, x); }, message("fill_zero"));
  expect_error([&] { convert(context_, x, x); }, message("convert"));
  expect_error([&] { add(context_, x, x); }, message("add"));
  expect_error([&] { sum_of_squares(context_, x); }, message("sum_of_squares"));
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

}  // namespace
}  // namespace gda::test
