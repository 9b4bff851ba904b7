// What backends share of gda/ops/linear_cross_entropy.h.
#pragma once

#include <algorithm>

#include "gda/ops/linear_cross_entropy.h"

namespace gda::ops {

// The rows of a chunk: as many as fit into the memory of the options, the chunks as even as can be.
inline std::int64_t chunk_rows(std::int64_t rows, std::int64_t vocabulary, DType dtype,
                               LinearCrossEntropyOptions options) {
  const std::size_t row_bytes = static_cast<std::size_t>(vocabulary) * size_of(dtype);
  const auto fitting =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(options.max_logit_bytes / row_bytes));
  const std::int64_t chunks = (rows + fitting - 1) / fitting;
  return (rows + chunks - 1) / chunks;
}

// No extent is 0, and neither is max_logit_bytes.
struct LinearCrossEntropyForwardBackward {
  Tensor x, weight, target;
  double scale;
  Tensor loss, dx;
  Tensor dweight;  // or empty
  LinearCrossEntropyOptions options;
};

}  // namespace gda::ops
