// Coverage check: boxes that cover a tensor exactly once.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gda/model/region.h"

namespace gda {

// A box that is not empty, and whose it is.
struct Covering {
  Region region;
  std::size_t owner = 0;
};

struct CoverageFault {
  Region where;
  // The two that have it; none: nobody does.
  std::optional<std::pair<Covering, Covering>> twice;

  // "nothing covers rows 0-3, columns 0-7", or who covers it twice. `name` of an owner: "rank 3".
  std::string str(const std::function<std::string(std::size_t)>& name) const;
};

// The fault in the lowest row; none if the boxes cover `whole` exactly. They lie in it, and it
// begins at 0. O(n log n).
std::optional<CoverageFault> find_coverage_fault(const Region& whole, std::vector<Covering> boxes);

}  // namespace gda
