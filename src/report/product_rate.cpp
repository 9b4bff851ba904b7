#include "report/product_rate.h"

#include <algorithm>
#include <cmath>

namespace gda {

ProductRate measure_product(const ProductProbe& probe) {
  constexpr double kSeconds = 0.3;
  constexpr double kLongestProduct = 0.05;
  const double end = probe.wall_clock() + kSeconds;
  const auto seconds_of_one = [&] {
    const double before = probe.work_clock();
    probe.multiply();
    return probe.work_clock() - before;
  };
  std::int64_t size = 64;
  double seconds = 0;
  while (true) {
    probe.prepare(size);
    probe.multiply();  // the first one also chooses or builds its kernel
    seconds = seconds_of_one();
    // Twice the size is eight times the work.
    const bool is_last = 2 * size > probe.largest || 8 * seconds > kLongestProduct;
    if (is_last || probe.wall_clock() >= end) break;
    size *= 2;
  }
  const double flops = 2 * std::pow(static_cast<double>(size), 3);
  double total = seconds;
  double shortest = seconds;
  double count = 1;
  while (probe.wall_clock() < end) {
    seconds = seconds_of_one();
    total += seconds;
    shortest = std::min(shortest, seconds);
    ++count;
  }
  // A clock may not have moved.
  constexpr double kTick = 1e-9;
  return {.best = flops / std::max(shortest, kTick),
          .mean = flops * count / std::max(total, kTick)};
}

}  // namespace gda
