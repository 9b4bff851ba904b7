// The rate of a square matrix product, found within a bounded time whatever the machine.
#pragma once

#include <cstdint>
#include <functional>

namespace gda {

struct ProductProbe {
  std::function<void(std::int64_t size)> prepare;  // matrices of `size` squared
  std::function<void()> multiply;                  // returns when the product is done
  std::function<double()> wall_clock;              // seconds
  // Seconds that count: the wall's, or those that a thread had a processor for.
  std::function<double()> work_clock;
  std::int64_t largest = 0;  // size; the smallest is 64
};

struct ProductRate {
  double best = 0;  // FLOP/s of the quickest product
  double mean = 0;  // of all that were timed
};

// Doubles the size from the smallest on while the next product would take less than a twentieth of
// a second, and multiplies until 0.3 seconds are over. So it takes at most 0.35 and a few smallest
// products where the work clock runs with the wall's.
ProductRate measure_product(const ProductProbe& probe);

}  // namespace gda
