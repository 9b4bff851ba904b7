// Assignment of matrices to ranks, where a rule needs whole matrices and ranks share the work.
#pragma once

#include <cstddef>
#include <vector>

#include "gda/core/shape.h"

namespace gda {

// Cost of a matrix's Newton-Schulz iterations, up to a factor: R C min(R, C).
double newton_schulz_cost(const Shape& shape);

// The matrices of each rank, by index, in the order in which they were dealt: the most expensive
// first, each to the rank with the least cost so far; of equal ones the lower index first, and the
// lower rank (longest processing time first, Graham 1969: the most loaded rank has at most 4/3 of
// the least that is possible). A function of its arguments alone, so that all ranks find the same.
std::vector<std::vector<std::size_t>> deal_matrices(const std::vector<double>& costs, int ranks);

}  // namespace gda
