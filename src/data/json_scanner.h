// Walks through JSON text without building it up; see json_text.h for what is let pass.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace gda {

// Thrown where the text is no JSON; `is_at_end`: all that is there is JSON, and more is needed.
struct JsonProblem {
  std::string what;
  std::size_t at = 0;
  bool is_at_end = false;
};

class JsonScanner {
 public:
  explicit JsonScanner(std::string_view text) : text_(text) {}

  // The next character that is not white space; 0 at the end.
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  std::size_t at() {
    skip_space();
    return at_;
  }
  void go_to(std::size_t at) { at_ = at; }
  // What the value here is, in words.
  std::string describe();

  // Calls f(name) at the value of every member of the object here, or f(index) at every element of
  // the list; f has to go past the value.
  template <class F>
  void enter(F&& f) {
    const char close = open();
    for (std::size_t index = 0; next_item(close, index == 0); ++index) {
      f(close == '}' ? read_name() : fmt::format("{}", index));
    }
  }

  // Past one value, however deep it is.
  void skip_value();
  // The string here, decoded; it has to be UTF-8.
  std::string read_string();
  // Nothing but white space follows.
  void expect_end();

 private:
  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos) ++at_;
  }
  [[noreturn]] void fail_at(std::size_t at, std::string what);
  [[noreturn]] void fail_here(std::string_view expected);
  char open();
  // Past the comma; false past the closing bracket.
  bool next_item(char close, bool is_first);
  std::string read_name();
  void skip_string();
  void skip_word();
  void read_escape(std::string& text);
  unsigned read_hex();

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace gda
