#include "gda/optim/matrix_owners.h"

#include <algorithm>
#include <numeric>

namespace gda {

double newton_schulz_cost(const Shape& shape) {
  const auto rows = static_cast<double>(shape[0]);
  const auto columns = static_cast<double>(shape[1]);
  return rows * columns * std::min(rows, columns);
}

std::vector<std::vector<std::size_t>> deal_matrices(const std::vector<double>& costs, int ranks) {
  std::vector<std::size_t> order(costs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return costs[a] > costs[b]; });
  std::vector<double> loads(static_cast<std::size_t>(ranks));
  std::vector<std::vector<std::size_t>> hands(loads.size());
  for (const std::size_t matrix : order) {
    const auto least = std::min_element(loads.begin(), loads.end());
    *least += costs[matrix];
    hands[static_cast<std::size_t>(least - loads.begin())].push_back(matrix);
  }
  return hands;
}

}  // namespace gda
