// Flat parts of boxes: what a rank holds of an optimizer's state, and of what a file is made.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "gda/checkpoint/safetensors.h"
#include "gda/model/region.h"

namespace gda {

// Elements [offset, offset + length) of a box, row-major in the box.
struct FlatPart {
  Region box;
  std::int64_t offset = 0;
  std::int64_t length = 0;

  // "elements [16, 48) of rows 0-7, columns 8-15".
  std::string str() const;
};

// The boxes that it consists of, at most three: the rest of a row, whole rows, the begin of a row.
std::vector<Region> rectangles(const FlatPart& part);

bool have_common(const FlatPart& a, const FlatPart& b);

// Throws FormatError beginning with `what` unless the part's box lies in `whole` and the part in
// its box.
void check_part(std::string_view what, const Region& whole, const FlatPart& part);

// A stored tensor as a box: its first axis is the rows, all others together are the columns.
Region region_of(const StoredTensor& tensor);

// Copies the elements that two parts have in common from `bytes`, the elements of `from`, to `to`
// (dense), those of `part`, converting them. Returns their number. `what` begins errors.
std::int64_t copy_common(std::string_view what, const FlatPart& from, const std::byte* bytes,
                         StoredType type, const FlatPart& part, const Tensor& to);

}  // namespace gda
