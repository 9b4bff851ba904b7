#include "gda/optim/matrix_owners.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace gda {
namespace {

std::vector<double> loads(const std::vector<double>& costs, const std::vector<int>& owners,
                          int ranks) {
  std::vector<double> result(static_cast<std::size_t>(ranks));
  for (std::size_t i = 0; i < costs.size(); ++i) {
    result.at(static_cast<std::size_t>(owners[i])) += costs[i];
  }
  return result;
}

TEST(MatrixOwners, CostsGrowWithTheShorterSide) {
  EXPECT_EQ(newton_schulz_cost({3, 5}), 45);
  EXPECT_EQ(newton_schulz_cost({5, 3}), 45);
  EXPECT_EQ(newton_schulz_cost({1, 7}), 7);
}

TEST(MatrixOwners, LongestFirstToTheLeastLoaded) {
  // By hand: 9 to rank 0, 8 to 1, 7 to 2, then 6 to 2 (7), 5 to 1 (8), 4 to 0 (9); 1 to 0, where
  // all have 13.
  EXPECT_EQ(matrix_owners({4, 5, 6, 7, 8, 9, 1}, 3), (std::vector<int>{0, 1, 2, 2, 1, 0, 0}));
  EXPECT_EQ(matrix_owners({2, 2, 2, 2}, 3), (std::vector<int>{0, 1, 2, 0}));
  EXPECT_EQ(matrix_owners({1}, 4), (std::vector<int>{0}));
  EXPECT_TRUE(matrix_owners({}, 2).empty());
}

// The matrices of Motif-2-12.7B's layers: dealt in turn, one rank would have all the large ones.
TEST(MatrixOwners, BalancesTheLayersOfALargeModel) {
  std::vector<double> costs;
  for (int layer = 0; layer < 40; ++layer) {
    for (const Shape& shape :
         {Shape{5120, 4096}, Shape{2048, 4096}, Shape{2048, 4096}, Shape{4096, 8192},
          Shape{16384, 4096}, Shape{16384, 4096}, Shape{4096, 16384}}) {
      costs.push_back(newton_schulz_cost(shape));
    }
  }
  const double total = std::accumulate(costs.begin(), costs.end(), 0.0);
  const double largest = *std::max_element(costs.begin(), costs.end());
  for (const int ranks : {1, 2, 7, 8, 64}) {
    const std::vector<double> load = loads(costs, matrix_owners(costs, ranks), ranks);
    const double mean = total / ranks;
    const double most = *std::max_element(load.begin(), load.end());
    // The last matrix of the most loaded rank came when that had less than the mean.
    EXPECT_LE(most, mean + largest) << ranks;
    if (ranks <= 8) {
      EXPECT_LE(most, 1.02 * mean) << ranks;
    }
    EXPECT_EQ(matrix_owners(costs, ranks), matrix_owners(costs, ranks));
  }
}

}  // namespace
}  // namespace gda
