// Elements of f32 and bf16 tensors, read and written as float. Written without branches and always
// inlined, so that loops over them become vector code of the instruction set being compiled.
#pragma once

#include <cstdint>

#include "gda/core/dtype.h"

namespace gda::cpu::GDA_ISA {

inline __attribute__((always_inline)) float load(float x) {
  return x;
}

inline __attribute__((always_inline)) float load(bfloat16 x) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(x.bits) << 16);
}

inline __attribute__((always_inline)) void store(float& to, float value) {
  to = value;
}

// Rounds to nearest even; NaN stays NaN.
inline __attribute__((always_inline)) void store(bfloat16& to, float value) {
  const auto word = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t rounded = word + 0x7fffU + ((word >> 16) & 1U);
  to.bits = static_cast<std::uint16_t>((value != value ? word | 0x400000U : rounded) >> 16);
}

}  // namespace gda::cpu::GDA_ISA
