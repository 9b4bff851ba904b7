// Loops over all cores.
#pragma once

#include <algorithm>
#include <cstdint>

namespace gda::cpu {

// Calls body(begin, end) for consecutive pieces of [0, count), each of at most `grain`. The pieces
// do not depend on the number of threads. body must not throw.
template <class Body>
void parallel_pieces(std::int64_t count, std::int64_t grain, const Body& body) {
  const std::int64_t pieces = (count + grain - 1) / grain;
#pragma omp parallel for schedule(static) if (pieces > 1)
  for (std::int64_t piece = 0; piece < pieces; ++piece) {
    const std::int64_t begin = piece * grain;
    body(begin, std::min(begin + grain, count));
  }
}

}  // namespace gda::cpu
