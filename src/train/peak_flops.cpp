#include "gda/train/peak_flops.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "gda/core/memory.h"
#include "gda/ops/matmul.h"

namespace gda {

double measure_peak_flops(const Context& context, DType compute) {
  using Clock = std::chrono::steady_clock;
  // Large enough that packing and starting threads are below a hundredth of the product.
  constexpr std::int64_t kSize = 1536;
  constexpr double kSeconds = 0.4;
  const OwnedTensor a(compute, {kSize, kSize});
  const OwnedTensor b(compute, {kSize, kSize});
  const OwnedTensor out(compute, {kSize, kSize});
  matmul(context, a.tensor, b.tensor, out.tensor);  // the first one also builds its kernel
  double best = 0;
  const Clock::time_point begin = Clock::now();
  Clock::time_point now = begin;
  while (std::chrono::duration<double>(now - begin).count() < kSeconds) {
    const Clock::time_point before = now;
    matmul(context, a.tensor, b.tensor, out.tensor);
    now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - before).count();
    best = std::max(best, 2.0 * kSize * kSize * kSize / seconds);
  }
  return best;
}

}  // namespace gda
