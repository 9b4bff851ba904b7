// Element types of tensors, and bfloat16.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gda {

enum class DType : std::uint8_t { f64, f32, bf16, i32 };

// Bytes of one element.
constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
      return 2;
  }
  return 0;
}

// As configurations write them: "fp64", "fp32", "bf16"; and "int32".
std::string_view name_of(DType dtype);

// The type in which reductions, norms, softmax, loss, vectors (norm weights, lambda) and gradients
// of parameters are kept when matrices and activations are of `compute` type: f32 for bf16 and f32,
// f64 for f64. (f64 is the verification mode: every operator has a plain-loop f64 reference.)
constexpr DType accumulate_type(DType compute) {
  return compute == DType::f64 ? DType::f64 : DType::f32;
}

// The upper half of an IEEE binary32. Conversion from float rounds to nearest even; NaN stays NaN.
struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  constexpr explicit bfloat16(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const bool is_nan = (word & 0x7fffffffU) > 0x7f800000U;
    const std::uint32_t rounded = word + 0x7fffU + ((word >> 16) & 1U);
    bits = static_cast<std::uint16_t>((is_nan ? (word | 0x400000U) : rounded) >> 16);
  }
  constexpr explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

// One of the two neighbours of `value` in bf16, the farther one as often as `noise`, uniform over
// 16 bits, says: the mean over all noise is `value`. inf and NaN stay.
constexpr bfloat16 stochastically_rounded(float value, std::uint16_t noise) {
  const auto word = std::bit_cast<std::uint32_t>(value);
  const bool is_finite = (word & 0x7f800000U) != 0x7f800000U;
  if (!is_finite) return bfloat16(value);
  bfloat16 result;
  result.bits = static_cast<std::uint16_t>((word + noise) >> 16);
  return result;
}

template <class T>
inline constexpr DType dtype_of = DType{};
template <>
inline constexpr DType dtype_of<double> = DType::f64;
template <>
inline constexpr DType dtype_of<float> = DType::f32;
template <>
inline constexpr DType dtype_of<bfloat16> = DType::bf16;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::i32;

// accumulate_type for C++ types: double for double, else float.
template <class T>
struct accumulate_of {
  using type = float;
};
template <>
struct accumulate_of<double> {
  using type = double;
};
template <class T>
using accumulate_t = typename accumulate_of<T>::type;

}  // namespace gda
