#include "gda/core/text.h"

#include <algorithm>
#include <array>

namespace gda {

std::string plural(std::uint64_t count, std::string_view noun) {
  if (count == 1) return std::string(noun);
  constexpr std::string_view kVowels = "aeiou";
  constexpr std::array<std::string_view, 4> kHisses = {"s", "x", "ch", "sh"};
  const std::string_view stem = noun.substr(0, noun.size() - 1);
  const bool is_y =
      noun.ends_with('y') && !stem.empty() && kVowels.find(stem.back()) == std::string_view::npos;
  if (is_y) return std::string(stem) + "ies";
  const bool hisses = std::any_of(kHisses.begin(), kHisses.end(),
                                  [&](std::string_view end) { return noun.ends_with(end); });
  return std::string(noun) + (hisses ? "es" : "s");
}

}  // namespace gda
