// The widest vectors of the instruction set, by the compiler's vector extension.
#pragma once

#include <cstdint>

namespace gda::cpu::GDA_ISA {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#elif defined(__AVX2__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif

using Vector = float __attribute__((vector_size(4 * kLanes)));
using IntVector = std::int32_t __attribute__((vector_size(4 * kLanes)));

// Unaligned, and allowed to alias what it is loaded from.
using StoredVector = float __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
using StoredIntVector =
    std::int32_t __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

#define GDA_INLINE inline __attribute__((always_inline))

GDA_INLINE Vector load(const float* from) {
  return *reinterpret_cast<const StoredVector*>(from);
}
GDA_INLINE IntVector load(const std::int32_t* from) {
  return *reinterpret_cast<const StoredIntVector*>(from);
}
GDA_INLINE void store(float* to, Vector value) {
  *reinterpret_cast<StoredVector*>(to) = value;
}
GDA_INLINE Vector splat(float value) {
  return value - Vector{};
}
GDA_INLINE IntVector splat(std::int32_t value) {
  return value - IntVector{};
}

}  // namespace gda::cpu::GDA_ISA
