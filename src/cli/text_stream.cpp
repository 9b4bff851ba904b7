#include "cli/text_stream.h"

#include <string_view>

#include "core/utf8.h"

namespace gda::cli {
namespace {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// Whether more bytes could make `text`, which does not begin with a character, begin with one:
// the smallest or the largest continuation completes every valid beginning.
bool may_become_character(std::string_view text) {
  for (const char continuation : {'\x80', '\xBF'}) {
    std::string longer(text);
    for (int missing = 0; missing < 3; ++missing) {
      longer += continuation;
      if (utf8_character_size(longer) > text.size()) return true;
    }
  }
  return false;
}

}  // namespace

TextStream::TextStream(const Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      ids_(tokenizer.encode("a")),
      lead_size_(tokenizer.decode(ids_).size()) {
  ids_.push_back(0);
}

std::string TextStream::add(std::int32_t id) {
  if (id >= tokenizer_.vocab_size()) return {};
  ids_.back() = id;
  pending_ += tokenizer_.decode(ids_).substr(lead_size_);
  return take(false);
}

std::string TextStream::finish() {
  return take(true);
}

std::string TextStream::take(bool at_end) {
  std::string whole;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const std::size_t size = utf8_character_size(rest);
    if (size == 0 && !at_end && may_become_character(rest)) break;
    whole += size > 0 ? rest.substr(0, size) : kReplacementCharacter;
    rest.remove_prefix(size > 0 ? size : 1);
  }
  pending_ = std::string(rest);
  return whole;
}

}  // namespace gda::cli
