#include "gda/data/permutation.h"

#include <gtest/gtest.h>

#include <vector>

namespace gda {
namespace {

TEST(KeyedPermutation, ReachesEverythingOnce) {
  const Philox random(7, RandomPurpose::data_order, "x");
  for (const std::int64_t size : {1, 2, 3, 4, 5, 16, 17, 64, 65, 1000, 4097}) {
    const KeyedPermutation permute(random, 3, size);
    std::vector<int> seen(static_cast<std::size_t>(size), 0);
    for (std::int64_t i = 0; i < size; ++i) ++seen.at(static_cast<std::size_t>(permute(i)));
    EXPECT_EQ(seen, std::vector<int>(static_cast<std::size_t>(size), 1)) << size;
  }
}

TEST(KeyedPermutation, LooksRandomAndDependsOnTheKey) {
  const Philox random(7, RandomPurpose::data_order, "x");
  constexpr std::int64_t kSize = 10000;
  const KeyedPermutation one(random, 0, kSize);
  const KeyedPermutation two(random, 1, kSize);
  int same = 0;
  int fixed = 0;
  int neighbours = 0;
  for (std::int64_t i = 0; i + 1 < kSize; ++i) {
    same += one(i) == two(i) ? 1 : 0;
    fixed += one(i) == i ? 1 : 0;
    neighbours += one(i + 1) - one(i) == 1 ? 1 : 0;
  }
  // Each is close to Poisson with mean 1 for a random permutation: P(more than 10) < 1e-8.
  EXPECT_LE(same, 10);
  EXPECT_LE(fixed, 10);
  EXPECT_LE(neighbours, 10);
}

TEST(KeyedPermutation, WorksAtTheSizeOfAHugeCorpus) {
  const Philox random(1, RandomPurpose::data_order);
  const std::int64_t size = (std::int64_t{1} << 40) + 12345;
  const KeyedPermutation permute(random, 0, size);
  for (std::int64_t i = 0; i < 1000; ++i) {
    EXPECT_GE(permute(i), 0);
    EXPECT_LT(permute(i), size);
  }
}

}  // namespace
}  // namespace gda
