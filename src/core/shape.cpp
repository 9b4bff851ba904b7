#include "gda/core/shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <span>

#include "gda/core/error.h"

namespace gda {

Shape::Shape(std::initializer_list<std::int64_t> extents)
    : rank_(static_cast<int>(extents.size())) {
  require<OpError>(extents.size() <= kMaxRank, "[shape] at most {} dimensions, got {}", kMaxRank,
                   extents.size());
  std::copy(extents.begin(), extents.end(), extents_.begin());
}

std::int64_t Shape::elements() const {
  return std::accumulate(extents_.begin(), extents_.begin() + rank_, std::int64_t{1},
                         std::multiplies<>());
}

std::string Shape::str() const {
  return fmt::format("[{}]",
                     fmt::join(std::span(extents_).first(static_cast<std::size_t>(rank_)), ", "));
}

}  // namespace gda
