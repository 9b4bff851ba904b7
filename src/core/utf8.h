// Validation of UTF-8, character by character.
#pragma once

#include <cstddef>
#include <string_view>

namespace gda {

// Bytes of the UTF-8 character at the start of a text: 1 to 4, or 0 if there is none (an invalid or
// truncated sequence, an overlong form, a surrogate, beyond U+10FFFF). The text must not be empty.
std::size_t utf8_character_size(std::string_view text);

}  // namespace gda
