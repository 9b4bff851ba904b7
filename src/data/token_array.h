// A mapped array of tokens of one of the element types that datasets use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

#include "gda/core/error.h"

namespace gda {

// The codes of Megatron's .idx. The codes of floats differ between its forks; none is read.
enum class TokenType : std::uint8_t { u8 = 1, i8 = 2, i16 = 3, i32 = 4, i64 = 5, u16 = 8, u32 = 0 };

// Calls f with a value of the element type.
template <class F>
auto dispatch(TokenType type, F&& f) {
  switch (type) {
    case TokenType::u8:
      return f(std::uint8_t{});
    case TokenType::i8:
      return f(std::int8_t{});
    case TokenType::i16:
      return f(std::int16_t{});
    case TokenType::i64:
      return f(std::int64_t{});
    case TokenType::u16:
      return f(std::uint16_t{});
    case TokenType::u32:
      return f(std::uint32_t{});
    case TokenType::i32:
      break;
  }
  return f(std::int32_t{});
}

inline std::int64_t size_of(TokenType type) {
  return dispatch(type, [](auto element) { return static_cast<std::int64_t>(sizeof(element)); });
}

// Loads a little-endian value that need not be aligned.
template <class T>
T load_unaligned(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

// The id that an element stands for; negative ids of signed types stay negative.
template <class T>
std::int64_t load_id(const std::byte* from) {
  if constexpr (sizeof(T) == 1 && std::is_signed_v<T>) {
    const int byte = std::to_integer<int>(*from);
    return byte < 0x80 ? byte : byte - 0x100;
  } else {
    return static_cast<std::int64_t>(load_unaligned<T>(from));
  }
}

// Elements [begin, begin + out.size()) of `data`, whatever they are.
inline void copy_ids(std::span<const std::byte> data, TokenType type, std::int64_t begin,
                     std::span<std::int64_t> out) {
  dispatch(type, [&](auto element) {
    using T = decltype(element);
    const std::byte* from = data.data() + begin * static_cast<std::int64_t>(sizeof(T));
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = load_id<T>(from + i * sizeof(T));
  });
}

struct BadToken {
  std::int64_t position = 0;
  std::int64_t id = 0;
};

// Copies elements [begin, begin + out.size()) of `data` to 32 bits. Returns the first token outside
// [0, vocab_size), if there is one.
inline std::optional<BadToken> copy_tokens(std::span<const std::byte> data, TokenType type,
                                           std::int64_t vocab_size, std::int64_t begin,
                                           std::span<std::int32_t> out) {
  return dispatch(type, [&](auto element) -> std::optional<BadToken> {
    using T = decltype(element);
    const std::byte* from = data.data() + begin * static_cast<std::int64_t>(sizeof(T));
    bool good = true;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::int64_t id = load_id<T>(from + i * sizeof(T));
      good &= id >= 0 && id < vocab_size;
      out[i] = static_cast<std::int32_t>(id);
    }
    if (good) [[likely]]
      return std::nullopt;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::int64_t id = load_id<T>(from + i * sizeof(T));
      if (id < 0 || id >= vocab_size) return BadToken{begin + static_cast<std::int64_t>(i), id};
    }
    return std::nullopt;
  });
}

}  // namespace gda
