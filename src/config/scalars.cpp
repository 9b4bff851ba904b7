#include "config/scalars.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace gda::config {
namespace {

// Text without a leading plus, which from_chars does not take.
std::string_view without_plus(std::string_view text) {
  const bool has_plus = text.size() > 1 && text[0] == '+' && text[1] != '-';
  return has_plus ? text.substr(1) : text;
}

template <class T>
bool parse_whole(std::string_view text, T& value) {
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  return parsed.ec == std::errc{} && parsed.ptr == end;
}

// Runs `parse` on a plain scalar.
template <class T, class Parse>
bool read_number(const ConfigNode& node, T& value, std::string& problem, std::string_view expected,
                 const Parse& parse) {
  if (node.kind == ConfigNode::Kind::scalar && !node.quoted) {
    if (const auto parsed = parse(node.text)) {
      value = *parsed;
      return true;
    }
  }
  problem = fmt::format("expected {}, found {}", expected, node.describe());
  return false;
}

}  // namespace

std::optional<double> parse_number(std::string_view text) {
  text = without_plus(text);
  const bool has_only_number_letters = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
  });
  double value = 0;
  if (!has_only_number_letters || !parse_whole(text, value)) return std::nullopt;
  return value;
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t whole = 0;
  if (parse_whole(without_plus(text), whole)) return whole;
  const std::optional<double> value = parse_number(text);
  // Beyond 2^53 a double no longer tells neighbouring integers apart.
  constexpr double kExact = 9007199254740992.0;
  if (!value || std::abs(*value) > kExact || *value != std::floor(*value)) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

bool is_reserved_word(std::string_view text) {
  static constexpr std::array<std::string_view, 10> kWords = {"null", "~",  "true", "false", "yes",
                                                              "no",   "on", "off",  "y",     "n"};
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return std::find(kWords.begin(), kWords.end(), lower) != kWords.end();
}

bool read_scalar(const ConfigNode& node, bool& value, std::string& problem) {
  const auto parse = [](const std::string& text) -> std::optional<bool> {
    if (text == "true") return true;
    if (text == "false") return false;
    return std::nullopt;
  };
  return read_number(node, value, problem, "true or false", parse);
}

bool read_scalar(const ConfigNode& node, std::int64_t& value, std::string& problem) {
  return read_number(node, value, problem, "a whole number", parse_integer);
}

bool read_scalar(const ConfigNode& node, double& value, std::string& problem) {
  return read_number(node, value, problem, "a number", parse_number);
}

bool read_scalar(const ConfigNode& node, std::string& value, std::string& problem) {
  if (node.kind == ConfigNode::Kind::scalar) {
    value = node.text;
    return true;
  }
  const bool is_null = node.kind == ConfigNode::Kind::null;
  problem = fmt::format("expected text, found {}{}", node.describe(),
                        is_null ? " (write \"\" for empty text)" : "");
  return false;
}

}  // namespace gda::config
