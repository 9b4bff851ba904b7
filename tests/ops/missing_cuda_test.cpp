// Without the CUDA backend every operator says which build option it lacks.
#include "gda/ops/elementwise.h"
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

}  // namespace
}  // namespace gda::test
