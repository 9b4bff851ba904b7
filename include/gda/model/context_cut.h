// How the ranks of a context group share the tokens of a sequence.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/core/words.h"
#include "gda/model/region.h"

namespace gda {

enum class ContextMethod : std::uint8_t { automatic, ulysses, gather };
template <>
inline constexpr auto kWordsOf<ContextMethod> = words("auto", "ulysses", "gather");

struct ContextCut {
  int rank = 0;
  int size = 1;
  ContextMethod method = ContextMethod::automatic;
  std::vector<IndexRange> token_ranges(std::int64_t length) const {
    if (method == ContextMethod::gather) {
      const std::int64_t chunk = length / (2 * size);
      return {{rank * chunk, (rank + 1) * chunk},
              {(2 * size - 1 - rank) * chunk, (2 * size - rank) * chunk}};
    }
    return {{rank * length / size, (rank + 1) * length / size}};
  }
  bool attends_to_all() const { return method != ContextMethod::gather; }
};

}  // namespace gda
