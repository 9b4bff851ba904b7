// Boxes of a parameter: what checkpoints, initialisation and optimizers mean by a part of a tensor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gda/core/shape.h"

namespace gda {

// Coordinates [begin, end) of an axis.
struct IndexRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
  bool operator==(const IndexRange&) const = default;
};

// What both have; of size 0 if they share nothing.
IndexRange intersection(const IndexRange& a, const IndexRange& b);

// A box of a global tensor of rank 1 or 2: rows x columns. A vector has its coordinates along the
// rows and one column.
struct Region {
  IndexRange rows;
  IndexRange columns;

  static Region whole(const Shape& shape);
  std::int64_t elements() const { return rows.size() * columns.size(); }
  bool empty() const { return rows.size() <= 0 || columns.size() <= 0; }
  bool contains(const Region& other) const;
  // The local shape: of rank 1 if `global` is.
  Shape shape(const Shape& global) const;
  // "rows 0-63, columns 32-63", both ends included, for messages.
  std::string str() const;
  bool operator==(const Region&) const = default;
};

Region intersection(const Region& a, const Region& b);

// Elements that lie side by side in a box and in the global tensor alike.
struct Stretch {
  std::int64_t local = 0;   // row-major index in the box, of the first
  std::int64_t global = 0;  // row-major index in the global tensor
  std::int64_t length = 0;
};

// Elements [offset, offset + length) of a box, in row-major order, as stretches: one if the box has
// all columns, otherwise one a row.
std::vector<Stretch> stretches(const Region& region, const Shape& global, std::int64_t offset,
                               std::int64_t length);

}  // namespace gda
