#include "gda/optim/matrix_owners.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace gda {
namespace {

using Hands = std::vector<std::vector<std::size_t>>;

TEST(MatrixOwners, CostsGrowWithTheShorterSide) {
  EXPECT_EQ(newton_schulz_cost({3, 5}), 45);
  EXPECT_EQ(newton_schulz_cost({5, 3}), 45);
  EXPECT_EQ(newton_schulz_cost({1, 7}), 7);
}

TEST(MatrixOwners, LongestFirstToTheLeastLoaded) {
  // By hand: 9 to rank 0, 8 to 1, 7 to 2, then 6 to 2 (7), 5 to 1 (8), 4 to 0 (9); 1 to 0, where
  // all have 13.
  EXPECT_EQ(deal_matrices({4, 5, 6, 7, 8, 9, 1}, 3), (Hands{{5, 0, 6}, {4, 1}, {3, 2}}));
  EXPECT_EQ(deal_matrices({2, 2, 2, 2}, 3), (Hands{{0, 3}, {1}, {2}}));
  EXPECT_EQ(deal_matrices({1}, 3), (Hands{{0}, {}, {}}));
  EXPECT_EQ(deal_matrices({}, 2), Hands(2));
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
    const Hands hands = deal_matrices(costs, ranks);
    double most = 0;
    std::vector<bool> dealt(costs.size());
    for (const auto& hand : hands) {
      double load = 0;
      for (const std::size_t matrix : hand) {
        EXPECT_FALSE(dealt[matrix]);
        dealt[matrix] = true;
        load += costs[matrix];
      }
      most = std::max(most, load);
    }
    EXPECT_EQ(std::count(dealt.begin(), dealt.end(), true), 280);
    const double mean = total / ranks;
    // The last matrix of the most loaded rank came when that had less than the mean.
    EXPECT_LE(most, mean + largest) << ranks;
    if (ranks <= 8) {
      EXPECT_LE(most, 1.02 * mean) << ranks;
    }
    EXPECT_EQ(deal_matrices(costs, ranks), hands);
  }
}

}  // namespace
}  // namespace gda
