// What ranks send each other in tests.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "gda/core/dtype.h"
#include "gda/core/tensor.h"

namespace gda::test {

template <class T>
Tensor tensor_of(std::vector<T>& values) {
  static T none{};
  T* data = values.empty() ? &none : values.data();
  return Tensor(data, dtype_of<T>, {static_cast<std::int64_t>(values.size())});
}

// A value that differs with rank and place, exact in every dtype.
template <class T>
T value(int rank, std::int64_t i) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return bfloat16(static_cast<float>((i * 13 + rank * 7) % 101 - 50));
  } else {
    return static_cast<T>((i * 13 + rank * 7) % 101 - 50);
  }
}

// The same as a number. Sums of those of a few ranks are exact in every dtype, also where they are
// rounded on the way.
template <class T>
float number(int rank, std::int64_t i) {
  return static_cast<float>(value<T>(rank, i));
}

template <class T>
std::vector<T> values(int rank, std::int64_t n) {
  std::vector<T> result(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) result[i] = value<T>(rank, i);
  return result;
}

}  // namespace gda::test
