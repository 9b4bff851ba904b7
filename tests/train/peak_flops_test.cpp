#include "gda/train/peak_flops.h"

#include <gtest/gtest.h>

namespace gda {
namespace {

TEST(PeakFlopsTest, IsAPlausibleSpeed) {
  // Any processor of the last decade does a GFLOP/s with one thread; none does an exaFLOP/s.
  Arena arena;
  const double peak = measure_peak_flops(Context{.stream = {}, .arena = arena}, DType::f32);
  EXPECT_GT(peak, 1e9);
  EXPECT_LT(peak, 1e18);
}

}  // namespace
}  // namespace gda
