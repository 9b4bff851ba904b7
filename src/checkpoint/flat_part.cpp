#include "checkpoint/flat_part.h"

#include <fmt/format.h>

#include <algorithm>

#include "gda/core/error.h"
#include "gda/core/text.h"

namespace gda {
namespace {

// Where an element of the tensor lies in a part.
std::int64_t index_in(const FlatPart& part, std::int64_t row, std::int64_t column) {
  return (row - part.box.rows.begin) * part.box.columns.size() + (column - part.box.columns.begin) -
         part.offset;
}

}  // namespace

std::string FlatPart::str() const {
  return fmt::format("elements [{}, {}) of {}", offset, offset + length, box.str());
}

std::vector<Region> rectangles(const FlatPart& part) {
  std::vector<Region> result;
  const std::int64_t width = part.box.columns.size();
  const std::int64_t end = part.offset + part.length;
  for (std::int64_t next = part.offset; next < end;) {
    const std::int64_t row = part.box.rows.begin + next / width;
    const std::int64_t skipped = next % width;
    const std::int64_t column = part.box.columns.begin + skipped;
    const std::int64_t columns = std::min(width - skipped, end - next);
    const std::int64_t rows = columns < width ? 1 : (end - next) / width;
    result.push_back({{row, row + rows}, {column, column + columns}});
    next += rows * columns;
  }
  return result;
}

bool have_common(const FlatPart& a, const FlatPart& b) {
  for (const Region& x : rectangles(a)) {
    for (const Region& y : rectangles(b)) {
      if (!intersection(x, y).empty()) return true;
    }
  }
  return false;
}

void check_part(std::string_view what, const Region& whole, const FlatPart& part) {
  require<FormatError>(whole.contains(part.box), "{}: asked for {} of {}", what, part.box.str(),
                       whole.str());
  require<FormatError>(part.offset >= 0 && part.length <= part.box.elements() - part.offset,
                       "{} has {}, asked for [{}, {})", what,
                       counted(part.box.elements(), "element"), part.offset,
                       part.offset + part.length);
}

Region region_of(const StoredTensor& tensor) {
  if (tensor.shape.empty() || tensor.shape[0] == 0) return {{0, tensor.elements()}, {0, 1}};
  return {{0, tensor.shape[0]}, {0, tensor.elements() / tensor.shape[0]}};
}

std::int64_t copy_common(std::string_view what, const FlatPart& from, const std::byte* bytes,
                         StoredType type, const FlatPart& part, const Tensor& to) {
  auto* out = static_cast<std::byte*>(to.raw());
  std::int64_t copied = 0;
  for (const Region& source : rectangles(from)) {
    for (const Region& target : rectangles(part)) {
      const Region common = intersection(source, target);
      if (common.empty()) continue;
      // Rows that are whole in both follow one another in both.
      const bool is_dense =
          common.columns == from.box.columns && common.columns == part.box.columns;
      const std::int64_t rows = is_dense ? common.rows.size() : 1;
      const std::int64_t count = rows * common.columns.size();
      for (std::int64_t row = common.rows.begin; row < common.rows.end; row += rows) {
        const auto at = static_cast<std::size_t>(index_in(from, row, common.columns.begin));
        const auto into = static_cast<std::size_t>(index_in(part, row, common.columns.begin));
        convert_elements(what, bytes + at * size_of(type), type, out + into * size_of(to.dtype()),
                         to.dtype(), count);
        copied += count;
      }
    }
  }
  return copied;
}

}  // namespace gda
