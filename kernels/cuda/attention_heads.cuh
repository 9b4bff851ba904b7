// Which heads read which keys and values, as a kernel's parameter.
#pragma once

#include <algorithm>

#include "gda/ops/attention.h"
#include "numbers.cuh"

namespace gda::cuda {

// A parameter of at most 4 KiB holds the maps of so many query heads.
constexpr int kMaxHeads = 256;

struct HeadMaps {
  std::int16_t key[kMaxHeads];
  std::int16_t value[kMaxHeads];
  int count = 0;
};

inline void check_heads(const AttentionShape& shape) {
  require<OpError>(shape.query_heads() <= kMaxHeads,
                   "[attention] {} query heads on a GPU: expected at most {}", shape.query_heads(),
                   kMaxHeads);
}

inline HeadMaps head_maps(const AttentionShape& shape) {
  check_heads(shape);
  HeadMaps maps;
  maps.count = static_cast<int>(shape.query_heads());
  for (int h = 0; h < maps.count; ++h) {
    maps.key[h] = static_cast<std::int16_t>(shape.key_head[static_cast<std::size_t>(h)]);
    maps.value[h] = static_cast<std::int16_t>(shape.value_head[static_cast<std::size_t>(h)]);
  }
  return maps;
}

// Lengths, as kernels want them.
struct Lengths {
  int queries = 0;
  int keys = 0;
  int offset = 0;  // query i stands at key position i + offset
};

inline Lengths lengths_of(const AttentionShape& shape) {
  return {static_cast<int>(shape.query_length), static_cast<int>(shape.key_length),
          static_cast<int>(shape.query_offset)};
}

inline const std::int32_t* first_keys(const Tensor& first_key) {
  return first_key ? first_key.data<std::int32_t>() : nullptr;
}

}  // namespace gda::cuda
