#include "gda/core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace gda {
namespace {

TEST(DType, IsCalledAsConfigurationsCallIt) {
  EXPECT_EQ(name_of(DType::f64), "fp64");
  EXPECT_EQ(name_of(DType::f32), "fp32");
  EXPECT_EQ(name_of(DType::bf16), "bf16");
  EXPECT_EQ(name_of(DType::i32), "int32");
}

TEST(Bfloat16, RoundsToNearestEven) {
  EXPECT_EQ(bfloat16(1.0F).bits, 0x3F80);
  // 1 + 2^-8 lies half-way between 1 and 1 + 2^-7: to the even one.
  EXPECT_EQ(bfloat16(1.00390625F).bits, 0x3F80);
  EXPECT_EQ(bfloat16(1.01171875F).bits, 0x3F82);
  EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isinf(static_cast<float>(bfloat16(std::numeric_limits<float>::infinity()))));
}

}  // namespace
}  // namespace gda
