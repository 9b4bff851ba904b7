#include "gda/model/region.h"

#include <fmt/format.h>

#include <algorithm>

namespace gda {

IndexRange intersection(const IndexRange& a, const IndexRange& b) {
  const std::int64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

Region intersection(const Region& a, const Region& b) {
  return {intersection(a.rows, b.rows), intersection(a.columns, b.columns)};
}

Region Region::whole(const Shape& shape) {
  return {{0, shape[0]}, {0, shape.rank() == 2 ? shape[1] : 1}};
}

bool Region::contains(const Region& other) const {
  return intersection(*this, other) == other;
}

Shape Region::shape(const Shape& global) const {
  if (global.rank() == 1) return {rows.size()};
  return {rows.size(), columns.size()};
}

std::string Region::str() const {
  return fmt::format("rows {}-{}, columns {}-{}", rows.begin, rows.end - 1, columns.begin,
                     columns.end - 1);
}

}  // namespace gda
