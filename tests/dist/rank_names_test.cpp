#include "dist/rank_names.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

namespace gda::dist {
namespace {

TEST(RankNamesTest, AreNumbersAtFirst) {
  const RankNames names;
  EXPECT_EQ(names.name(5), "rank 5");
  EXPECT_EQ(names.list({5}), "rank 5");
  EXPECT_EQ(names.list({1, 5}), "ranks 1, 5");
}

TEST(RankNamesTest, HavePlaces) {
  RankNames names;
  names.set_places({"data 0", "data 1"});
  EXPECT_EQ(names.name(1), "rank 1 (data 1)");
  EXPECT_EQ(names.list({0, 1}), "rank 0 (data 0), rank 1 (data 1)");
  EXPECT_EQ(names.name(2), "rank 2");  // of another world
  names.set_places({});
  EXPECT_EQ(names.name(1), "rank 1");
}

// A line of hundreds would hide what it says of them.
TEST(RankNamesTest, OfManyAreNumbers) {
  RankNames names;
  names.set_places(std::vector<std::string>(9, "here"));
  std::vector<int> ranks(9);
  std::iota(ranks.begin(), ranks.end(), 0);
  EXPECT_EQ(names.list(ranks), "ranks 0, 1, 2, 3, 4, 5, 6, 7, 8");
}

}  // namespace
}  // namespace gda::dist
