// The part of a vocabulary whose rows of a table, an embedding or an output projection, are here,
// where places share one.
#pragma once

#include <cstdint>

namespace gda {

// The table's rows are entries [first, first + rows) of `total`, counted over all places. total 0:
// all of them are here.
struct VocabularyPart {
  std::int64_t first = 0;
  std::int64_t total = 0;
};

}  // namespace gda
