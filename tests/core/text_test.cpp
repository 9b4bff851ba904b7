#include "gda/core/text.h"

#include <gtest/gtest.h>

namespace gda {
namespace {

TEST(Plural, IsForAllCountsButOne) {
  EXPECT_EQ(counted(0, "rank"), "0 ranks");
  EXPECT_EQ(counted(1, "rank"), "1 rank");
  EXPECT_EQ(counted(2U, "bad line"), "2 bad lines");
  EXPECT_EQ(counted(-1, "step"), "-1 steps");
}

TEST(Plural, KnowsTheRegularEndings) {
  EXPECT_EQ(plural(2, "pass"), "passes");
  EXPECT_EQ(plural(2, "batch"), "batches");
  EXPECT_EQ(plural(2, "copy"), "copies");
  EXPECT_EQ(plural(2, "key"), "keys");
  EXPECT_EQ(plural(1, "pass"), "pass");
}

}  // namespace
}  // namespace gda
