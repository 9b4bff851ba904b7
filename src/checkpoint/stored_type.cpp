#include "checkpoint/stored_type.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "gda/core/error.h"

namespace gda {
namespace {

struct TypeFacts {
  StoredType type;
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<TypeFacts, 15> kTypes{{
    {StoredType::boolean, "BOOL", 1},
    {StoredType::u8, "U8", 1},
    {StoredType::i8, "I8", 1},
    {StoredType::f8_e4m3, "F8_E4M3", 1},
    {StoredType::f8_e5m2, "F8_E5M2", 1},
    {StoredType::i16, "I16", 2},
    {StoredType::u16, "U16", 2},
    {StoredType::f16, "F16", 2},
    {StoredType::bf16, "BF16", 2},
    {StoredType::i32, "I32", 4},
    {StoredType::u32, "U32", 4},
    {StoredType::f32, "F32", 4},
    {StoredType::i64, "I64", 8},
    {StoredType::u64, "U64", 8},
    {StoredType::f64, "F64", 8},
}};

const TypeFacts& facts_of(StoredType type) {
  return kTypes[static_cast<std::size_t>(type)];
}

// IEEE binary16.
struct Half {
  std::uint16_t bits;
  explicit operator float() const {
    const int exponent = (bits >> 10) & 0x1f;
    const int fraction = bits & 0x3ff;
    float magnitude = 0;
    if (exponent == 0x1f) {
      magnitude = fraction == 0 ? INFINITY : NAN;
    } else if (exponent == 0) {
      magnitude = std::ldexp(static_cast<float>(fraction), -24);
    } else {
      magnitude = std::ldexp(static_cast<float>(fraction + 0x400), exponent - 25);
    }
    return (bits & 0x8000U) != 0 ? -magnitude : magnitude;
  }
};

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_arithmetic_v<To> && std::is_arithmetic_v<From>) {
    return static_cast<To>(value);
  } else {
    return static_cast<To>(static_cast<float>(value));
  }
}

template <class From, class To>
void convert_all(const std::byte* from, To* to, std::int64_t count) {
  if constexpr (std::is_same_v<From, To>) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(To));
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      From value;
      std::memcpy(&value, from + static_cast<std::size_t>(i) * sizeof(From), sizeof(From));
      to[i] = convert<To>(value);
    }
  }
}

// Calls f with a value of the C++ type of a float type; false for other types.
template <class F>
bool with_float_type(StoredType type, F&& f) {
  switch (type) {
    case StoredType::f16:
      f(Half{});
      return true;
    case StoredType::bf16:
      f(bfloat16{});
      return true;
    case StoredType::f32:
      f(float{});
      return true;
    case StoredType::f64:
      f(double{});
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string_view name_of(StoredType type) {
  return facts_of(type).name;
}

std::size_t size_of(StoredType type) {
  return facts_of(type).bytes;
}

std::optional<StoredType> parse_stored_type(std::string_view name) {
  for (const TypeFacts& facts : kTypes) {
    if (facts.name == name) return facts.type;
  }
  return std::nullopt;
}

StoredType stored_type_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return StoredType::f64;
    case DType::f32:
      return StoredType::f32;
    case DType::bf16:
      return StoredType::bf16;
    case DType::i32:
      break;
  }
  return StoredType::i32;
}

void convert_elements(std::string_view what, const std::byte* from, StoredType type, void* to,
                      DType dtype, std::int64_t count) {
  const bool known = with_float_type(type, [&](auto from_value) {
    using From = decltype(from_value);
    switch (dtype) {
      case DType::f64:
        return convert_all<From>(from, static_cast<double*>(to), count);
      case DType::f32:
        return convert_all<From>(from, static_cast<float*>(to), count);
      case DType::bf16:
        return convert_all<From>(from, static_cast<bfloat16*>(to), count);
      case DType::i32:
        fail<FormatError>("{} cannot be read as int32: it is {}", what, name_of(type));
    }
  });
  require<FormatError>(known, "{} has type {}; a parameter is F16, BF16, F32 or F64", what,
                       name_of(type));
}

}  // namespace gda
