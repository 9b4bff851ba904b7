// How the ranks of a context group share the tokens of a sequence.
#pragma once

#include <cstdint>

#include "gda/core/words.h"

namespace gda {

enum class ContextMethod : std::uint8_t { automatic, ulysses, gather };
template <>
inline constexpr auto kWordsOf<ContextMethod> = words("auto", "ulysses", "gather");

}  // namespace gda
