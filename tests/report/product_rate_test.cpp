#include "report/product_rate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace gda {
namespace {

// A machine whose clock moves only while it works.
struct Machine {
  double flops = 1e9;     // FLOP/s while it has a processor
  double overhead = 0;    // seconds of each product beside its arithmetic
  double neighbours = 0;  // seconds that others have the processor, for each of its own
  double first = 0;       // seconds more for the first product of a size
  std::int64_t largest = 1024;

  double wall = 100;
  double work = 0;
  std::int64_t size = 0;
  bool is_first = false;
  std::vector<std::int64_t> sizes{};

  ProductRate rate() {
    return measure_product({.prepare =
                                [this](std::int64_t wanted) {
                                  size = wanted;
                                  sizes.push_back(size);
                                  is_first = true;
                                },
                            .multiply =
                                [this] {
                                  double seconds = 2 * std::pow(size, 3) / flops + overhead;
                                  if (is_first) seconds += first;
                                  is_first = false;
                                  work += seconds;
                                  wall += seconds * (1 + neighbours);
                                },
                            .wall_clock = [this] { return wall; },
                            .work_clock = [this] { return work; },
                            .largest = largest});
  }
};

// Processors from plain f64 loops to the largest GPU: the rate is found to the overhead's share,
// and never costs more than half a second.
TEST(ProductRate, IsFoundInHalfASecondOnAnyMachine) {
  for (const double flops : {1e8, 5e8, 1e9, 1e11, 4e11, 2e12, 1e15, 1e17}) {
    Machine machine{.flops = flops, .largest = flops > 1e13 ? 8192 : 1024};
    const ProductRate rate = machine.rate();
    EXPECT_NEAR(rate.best, flops, 1e-6 * flops);
    EXPECT_NEAR(rate.mean, flops, 1e-6 * flops);
    EXPECT_LT(machine.wall - 100, 0.5) << flops;
    EXPECT_EQ(machine.sizes.front(), 64);
    EXPECT_LE(machine.sizes.back(), machine.largest);
  }
}

TEST(ProductRate, LargeProductsHideTheOverhead) {
  // 10 us to launch: a product of 64 would show a twentieth of the rate.
  Machine machine{.flops = 1e12, .overhead = 1e-5};
  EXPECT_GT(machine.rate().best, 0.99e12);
  EXPECT_EQ(machine.sizes.back(), 1024);
}

TEST(ProductRate, NeighboursDoNotMakeItSmall) {
  for (const double neighbours : {0.0, 1.0, 3.0, 7.0}) {
    Machine machine{.flops = 2e11, .neighbours = neighbours};
    const ProductRate rate = machine.rate();
    EXPECT_NEAR(rate.mean, 2e11, 1e-6 * 2e11) << neighbours;
    // One product may begin just before the end.
    EXPECT_LT(machine.wall - 100, 0.3 + 0.05 * (1 + neighbours)) << neighbours;
  }
}

TEST(ProductRate, TheFirstProductOfASizeIsNotCounted) {
  Machine machine{.flops = 1e11, .first = 0.01};
  const ProductRate rate = machine.rate();
  EXPECT_NEAR(rate.mean, 1e11, 1e-6 * 1e11);
  EXPECT_GT(machine.sizes.back(), 64);
}

TEST(ProductRate, AClockThatStandsStillIsNoInfiniteRate) {
  Machine machine{.flops = 1e30};
  const auto stands_still = [&] {
    double wall = 0;
    return measure_product({.prepare = [](std::int64_t) {},
                            .multiply = [] {},
                            .wall_clock = [&wall] { return wall += 0.1; },
                            .work_clock = [] { return 0.0; },
                            .largest = 64});
  };
  EXPECT_TRUE(std::isfinite(stands_still().mean));
  EXPECT_TRUE(std::isfinite(stands_still().best));
}

}  // namespace
}  // namespace gda
