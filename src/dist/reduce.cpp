#include "dist/reduce.h"

#include <algorithm>
#include <array>

namespace gda::dist {
namespace {

// Elements combined at a time: 4 KiB of f64 partial results stay in the first-level cache.
constexpr std::int64_t kBlock = 512;

// Sums are kept wider than their terms, so that the result rounds once.
template <class T>
struct Wide {
  using type = double;
};
template <>
struct Wide<bfloat16> {
  using type = float;  // by way of f64 the result would round twice
};
template <>
struct Wide<std::int32_t> {
  using type = std::int64_t;
};

template <class W, Reduction reduction>
W combine(W a, W b) {
  if constexpr (reduction == Reduction::sum) return a + b;
  if constexpr (reduction == Reduction::min) return b < a || b != b ? b : a;
  if constexpr (reduction == Reduction::max) return b > a || b != b ? b : a;
}

template <class T, Reduction reduction>
void reduce_blocks(std::span<const void* const> from, T* to, std::int64_t elements) {
  using W = typename Wide<T>::type;
  std::array<W, kBlock> partial;
  for (std::int64_t begin = 0; begin < elements; begin += kBlock) {
    const std::int64_t count = std::min(kBlock, elements - begin);
    const T* first = static_cast<const T*>(from.front()) + begin;
    for (std::int64_t i = 0; i < count; ++i) partial[i] = static_cast<W>(first[i]);
    for (const void* source : from.subspan(1)) {
      const T* terms = static_cast<const T*>(source) + begin;
      for (std::int64_t i = 0; i < count; ++i) {
        partial[i] = combine<W, reduction>(partial[i], static_cast<W>(terms[i]));
      }
    }
    for (std::int64_t i = 0; i < count; ++i) to[begin + i] = static_cast<T>(partial[i]);
  }
}

template <class T>
void reduce_typed(std::span<const void* const> from, void* to, std::int64_t elements,
                  Reduction reduction) {
  switch (reduction) {
    case Reduction::sum:
      return reduce_blocks<T, Reduction::sum>(from, static_cast<T*>(to), elements);
    case Reduction::min:
      return reduce_blocks<T, Reduction::min>(from, static_cast<T*>(to), elements);
    case Reduction::max:
      return reduce_blocks<T, Reduction::max>(from, static_cast<T*>(to), elements);
  }
}

}  // namespace

void reduce_in_order(std::span<const void* const> from, void* to, std::int64_t elements,
                     DType dtype, Reduction reduction) {
  switch (dtype) {
    case DType::f32:
      return reduce_typed<float>(from, to, elements, reduction);
    case DType::f64:
      return reduce_typed<double>(from, to, elements, reduction);
    case DType::i32:
      return reduce_typed<std::int32_t>(from, to, elements, reduction);
    case DType::bf16:
      return reduce_typed<bfloat16>(from, to, elements, reduction);
  }
}

}  // namespace gda::dist
