// The text of a line of JSON that other programs wrote.
//
// Only what is asked for is decoded; the rest of the line is checked for its structure alone. So
// Python's NaN and Infinity, numbers of any size and strings that are not UTF-8 are accepted beside
// the text, at any depth.
#pragma once

#include <string>
#include <string_view>

namespace gda {

// The string under a key, or why there is none.
struct JsonText {
  std::string text;
  std::string problem{};  // empty: the text is there
  bool is_json = true;
};

// `key` is the name of a key; or, if the object has no such key, a path of keys and of indexes from
// 0 into lists, "doc.text" or "/doc/text" (a JSON pointer, RFC 6901). A key that is given twice is
// a problem where it leads to the text.
JsonText find_json_text(std::string_view line, std::string_view key);

enum class JsonShape {
  none,    // not JSON
  begun,   // JSON as far as it goes; the end is missing
  object,  // one whole object and nothing else
  other,   // another whole value
};
// White space, line ends among it, may stand between the parts.
JsonShape json_shape(std::string_view text);

}  // namespace gda
