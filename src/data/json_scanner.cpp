#include "data/json_scanner.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "core/utf8.h"

namespace gda {
namespace {

bool is_word_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
         c == '+' || c == '.';
}

std::size_t digits_from(std::string_view word, std::size_t at) {
  const std::size_t end = std::min(word.find_first_not_of("0123456789", at), word.size());
  return end - std::min(at, end);
}

// -1.5e+3, of any size; not 01, .5 or 1.
bool is_number(std::string_view word) {
  std::size_t at = word.starts_with('-') ? 1 : 0;
  const std::size_t whole = digits_from(word, at);
  if (whole == 0 || (whole > 1 && word[at] == '0')) return false;
  at += whole;
  if (at < word.size() && word[at] == '.') {
    const std::size_t fraction = digits_from(word, ++at);
    if (fraction == 0) return false;
    at += fraction;
  }
  if (at < word.size() && (word[at] == 'e' || word[at] == 'E')) {
    ++at;
    if (at < word.size() && (word[at] == '+' || word[at] == '-')) ++at;
    const std::size_t exponent = digits_from(word, at);
    if (exponent == 0) return false;
    at += exponent;
  }
  return at == word.size();
}

constexpr std::array<std::string_view, 6> kWords{"true", "false",    "null",
                                                 "NaN",  "Infinity", "-Infinity"};

void append_utf8(std::string& text, unsigned code) {
  const auto tail = [&](unsigned shift) {
    text += static_cast<char>(0x80U | ((code >> shift) & 0x3FU));
  };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xC0U | (code >> 6U));
    tail(0);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xE0U | (code >> 12U));
    tail(6);
    tail(0);
  } else {
    text += static_cast<char>(0xF0U | (code >> 18U));
    tail(12);
    tail(6);
    tail(0);
  }
}

bool is_surrogate(unsigned code, unsigned first) {
  return code >= first && code < first + 0x400;
}

}  // namespace

void JsonScanner::fail_at(std::size_t at, std::string what) {
  throw JsonProblem{std::move(what), at, at >= text_.size()};
}

void JsonScanner::fail_here(std::string_view expected) {
  if (peek() == '\0' && at_ >= text_.size()) {
    fail_at(at_, fmt::format("expected {}, but the line ends", expected));
  }
  fail_at(at_, fmt::format("expected {}, found {}", expected, text_[at_]));
}

std::string JsonScanner::describe() {
  switch (peek()) {
    case '"':
      return "a string";
    case '{':
      return "an object";
    case '[':
      return "a list";
    case 't':
    case 'f':
      return "a boolean";
    case 'n':
      return "null";
    default:
      return "a number";
  }
}

char JsonScanner::open() {
  const char bracket = peek();
  if (bracket != '{' && bracket != '[') fail_here("{ or [");
  ++at_;
  return bracket == '{' ? '}' : ']';
}

bool JsonScanner::next_item(char close, bool is_first) {
  if (peek() == close && at_ < text_.size()) {
    ++at_;
    return false;
  }
  if (is_first) return true;
  if (peek() != ',') fail_here(close == '}' ? "a comma or }" : "a comma or ]");
  const std::size_t comma = at_++;
  if (peek() == close) fail_at(comma, fmt::format("a comma before {}", close));
  return true;
}

std::string JsonScanner::read_name() {
  if (peek() != '"') fail_here("a key in double quotes");
  // A key that is not UTF-8 is not the one that is looked for.
  const std::size_t begin = at_;
  std::string name;
  try {
    name = read_string();
  } catch (const JsonProblem& problem) {
    if (problem.is_at_end) throw;
    at_ = begin;
    skip_string();
    name = std::string(text_.substr(begin + 1, at_ - begin - 2));
  }
  if (peek() != ':') fail_here("a colon after the key");
  ++at_;
  return name;
}

void JsonScanner::skip_value() {
  std::string open_brackets;  // what closes them, the innermost last
  bool is_first = true;
  do {
    if (!open_brackets.empty()) {
      if (!next_item(open_brackets.back(), is_first)) {
        open_brackets.pop_back();
        is_first = false;
        continue;
      }
      if (open_brackets.back() == '}') {
        if (peek() != '"') fail_here("a key in double quotes");
        skip_string();
        if (peek() != ':') fail_here("a colon after the key");
        ++at_;
      }
    }
    is_first = peek() == '{' || peek() == '[';
    if (is_first) {
      open_brackets += open();
    } else if (peek() == '"') {
      skip_string();
    } else {
      skip_word();
    }
  } while (!open_brackets.empty());
}

void JsonScanner::skip_string() {
  for (++at_; at_ < text_.size(); ++at_) {
    if (text_[at_] == '"') {
      ++at_;
      return;
    }
    if (text_[at_] == '\\') ++at_;
  }
  fail_at(text_.size(), "a string without an end");
}

void JsonScanner::skip_word() {
  const std::size_t begin = at();
  std::size_t end = begin;
  while (end < text_.size() && is_word_character(text_[end])) ++end;
  const std::string_view word = text_.substr(begin, end - begin);
  if (word.empty()) fail_here("a value");
  if (std::find(kWords.begin(), kWords.end(), word) == kWords.end() && !is_number(word)) {
    // At the end of the text it may only have begun.
    fail_at(end < text_.size() ? begin : end, fmt::format("{} is no value", word));
  }
  at_ = end;
}

unsigned JsonScanner::read_hex() {
  const std::string_view digits = text_.substr(std::min(at_, text_.size()), 4);
  unsigned code = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
  if (digits.size() < 4) fail_at(text_.size(), "a string without an end");
  if (parsed.ptr != digits.data() + 4) fail_at(at_, "\\u without four hexadecimal digits");
  at_ += 4;
  return code;
}

// After the backslash.
void JsonScanner::read_escape(std::string& text) {
  constexpr std::string_view kNames = "\"\\/bfnrt";
  constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
  const std::size_t begin = at_ - 1;
  if (at_ >= text_.size()) fail_at(text_.size(), "a string without an end");
  const char name = text_[at_++];
  if (name != 'u') {
    const std::size_t found = kNames.find(name);
    if (found == std::string_view::npos) fail_at(begin, fmt::format("\\{} means nothing", name));
    text += kMeanings[found];
    return;
  }
  unsigned code = read_hex();
  if (is_surrogate(code, 0xD800) && text_.substr(at_, 2) == "\\u") {
    at_ += 2;
    const unsigned low = read_hex();
    if (is_surrogate(low, 0xDC00)) code = 0x10000 + ((code - 0xD800) << 10U) + (low - 0xDC00);
  }
  if (is_surrogate(code, 0xD800) || is_surrogate(code, 0xDC00)) {
    fail_at(begin, fmt::format("\\u{:04x} is half of a character", code));
  }
  append_utf8(text, code);
}

std::string JsonScanner::read_string() {
  std::string text;
  for (++at_; at_ < text_.size();) {
    const char c = text_[at_];
    if (c == '"') {
      ++at_;
      return text;
    }
    if (c == '\\') {
      ++at_;
      read_escape(text);
      continue;
    }
    const std::size_t size = utf8_character_size(text_.substr(at_));
    if (size == 0) fail_at(at_, "the text is not UTF-8");
    text.append(text_, at_, size);
    at_ += size;
  }
  fail_at(text_.size(), "a string without an end");
}

void JsonScanner::expect_end() {
  if (peek() != '\0' || at_ < text_.size()) {
    fail_at(at_, fmt::format("{} follows the value", text_[at_]));
  }
}

}  // namespace gda
