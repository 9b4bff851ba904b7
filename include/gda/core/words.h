// Names of enum values in configurations, files and messages.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace gda {

// The words of an enum in the order of its values, which count from 0. Specialised beside it:
//
//   enum class Rounding : std::uint8_t { nearest, stochastic };
//   template <>
//   inline constexpr auto kWordsOf<Rounding> = words("nearest", "stochastic");
template <class Enum>
inline constexpr std::array<std::string_view, 0> kWordsOf{};

template <class... Text>
constexpr std::array<std::string_view, sizeof...(Text)> words(Text... text) {
  return {text...};
}

template <class Enum>
concept Worded = std::is_enum_v<Enum> && !kWordsOf<Enum>.empty();

template <Worded Enum>
constexpr std::string_view word_of(Enum value) {
  return kWordsOf<Enum>.at(static_cast<std::size_t>(value));
}

// Nothing if the enum has no such word.
template <Worded Enum>
constexpr std::optional<Enum> from_word(std::string_view word) {
  for (std::size_t i = 0; i < kWordsOf<Enum>.size(); ++i) {
    if (kWordsOf<Enum>[i] == word) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

template <Worded Enum>
std::vector<std::string> words_of() {
  return {kWordsOf<Enum>.begin(), kWordsOf<Enum>.end()};
}

}  // namespace gda

// Messages show the word.
template <gda::Worded Enum>
struct fmt::formatter<Enum> : fmt::formatter<std::string_view> {
  template <class FormatContext>
  auto format(Enum value, FormatContext& context) const {
    return fmt::formatter<std::string_view>::format(gda::word_of(value), context);
  }
};
