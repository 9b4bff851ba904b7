// Words of messages.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace gda {

// The noun as it follows a count: plural(1, "rank") is "rank", plural(0, "rank") "ranks",
// plural(2, "copy") "copies", plural(2, "pass") "passes". For regular nouns.
std::string plural(std::uint64_t count, std::string_view noun);

// With the count before it: "1 rank", "8 ranks".
template <std::integral Count>
std::string counted(Count count, std::string_view noun) {
  return std::to_string(count) + " " + plural(static_cast<std::uint64_t>(count), noun);
}

}  // namespace gda
