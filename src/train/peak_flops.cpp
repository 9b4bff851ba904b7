#include "gda/train/peak_flops.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>

#include "gda/core/stream.h"
#include "gda/ops/elementwise.h"
#include "gda/ops/matmul.h"

namespace gda {
namespace {

// Not of one value: chips that are short of power multiply zeros faster.
OwnedTensor varied_matrix(const Context& context, DType dtype, std::int64_t size) {
  OwnedTensor matrix(dtype, {size, size}, context.device());
  const OwnedTensor values(DType::f32, {size, size}, context.device());
  fill_from_host(context.stream, values.tensor, [](const Tensor& host) {
    std::uint32_t state = 1;
    for (std::int64_t i = 0; i < host.elements(); ++i) {
      state = state * 1664525U + 1013904223U;  // Numerical Recipes, section 7.1
      host.data<float>()[i] = static_cast<float>(state >> 8) * 0x1p-24F - 0.5F;
    }
  });
  convert(context, values.tensor, matrix.tensor);
  synchronize(context.stream);
  return matrix;
}

}  // namespace

double measure_peak_flops(const Context& context, DType compute) {
  using Clock = std::chrono::steady_clock;
  // Large enough that packing and starting threads, or launching, are below a hundredth of it.
  const std::int64_t size = context.device().type == DeviceType::cpu ? 1536 : 8192;
  constexpr double kSeconds = 0.4;
  const OwnedTensor a = varied_matrix(context, compute, size);
  const OwnedTensor b = varied_matrix(context, compute, size);
  const OwnedTensor out(compute, {size, size}, context.device());
  const auto multiply = [&] {
    matmul(context, a.tensor, b.tensor, out.tensor);
    synchronize(context.stream);
  };
  multiply();  // the first one also chooses or builds its kernel
  const double flops = 2 * std::pow(static_cast<double>(size), 3);
  double best = 0;
  const Clock::time_point begin = Clock::now();
  Clock::time_point now = begin;
  while (std::chrono::duration<double>(now - begin).count() < kSeconds) {
    const Clock::time_point before = now;
    multiply();
    now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - before).count();
    best = std::max(best, flops / seconds);
  }
  return best;
}

}  // namespace gda
