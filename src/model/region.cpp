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

std::vector<Stretch> stretches(const Region& region, const Shape& global, std::int64_t offset,
                               std::int64_t length) {
  const std::int64_t row_size = global.rank() == 2 ? global[1] : 1;
  const std::int64_t width = region.columns.size();
  if (width == row_size) return {{offset, region.rows.begin * row_size + offset, length}};
  std::vector<Stretch> result;
  for (std::int64_t local = offset; local < offset + length;) {
    const std::int64_t column = local % width;
    const std::int64_t count = std::min(width - column, offset + length - local);
    const std::int64_t row = region.rows.begin + local / width;
    result.push_back({local, row * row_size + region.columns.begin + column, count});
    local += count;
  }
  return result;
}

std::string Region::str() const {
  return fmt::format("rows {}-{}, columns {}-{}", rows.begin, rows.end - 1, columns.begin,
                     columns.end - 1);
}

}  // namespace gda
