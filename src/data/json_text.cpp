#include "data/json_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <vector>

#include "data/json_scanner.h"

namespace gda {
namespace {

struct Members {
  std::vector<std::string> names;
  std::optional<std::size_t> wanted;  // where the value under the wanted name begins
  bool given_twice = false;
};

// The members of the object, or the elements of the list, that begins at `scanner`. Elements are
// named by their index.
Members read_members(JsonScanner& scanner, std::string_view wanted) {
  Members members;
  scanner.enter([&](std::string name) {
    if (name == wanted) {
      members.given_twice = members.given_twice || members.wanted.has_value();
      members.wanted = scanner.at();
    }
    members.names.push_back(std::move(name));
    scanner.skip_value();
  });
  return members;
}

// One key, or the parts of a path.
std::vector<std::string> parts_of(std::string_view key) {
  const bool is_pointer = key.starts_with('/');
  if (is_pointer) key.remove_prefix(1);
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < key.size(); ++i) {
    const bool is_escape = is_pointer && key[i] == '~' && i + 1 < key.size() &&
                           (key[i + 1] == '0' || key[i + 1] == '1');
    if (key[i] == (is_pointer ? '/' : '.')) {
      parts.emplace_back();
    } else if (is_escape) {
      parts.back() += key[++i] == '0' ? '~' : '/';
    } else {
      parts.back() += key[i];
    }
  }
  return parts;
}

std::string joined(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 20;
  if (names.empty()) return "none";
  const auto end = names.begin() + static_cast<std::ptrdiff_t>(std::min(kMost, names.size()));
  return fmt::format("{}{}", fmt::join(names.begin(), end, ", "),
                     names.size() > kMost ? ", ..." : "");
}

JsonText text_at(JsonScanner& scanner, std::string_view key) {
  if (scanner.peek() != '"') {
    return {"", fmt::format("expected a string under \"{}\", found {}", key, scanner.describe())};
  }
  return {.text = scanner.read_string()};
}

// Follows `parts` from the object that the scanner is at.
JsonText follow(JsonScanner& scanner, const std::vector<std::string>& parts, Members members,
                std::string_view key) {
  std::string walked;
  for (std::size_t i = 0;; ++i) {
    if (!members.wanted) {
      const std::string place = walked.empty() ? "the object" : fmt::format("\"{}\"", walked);
      return {"", fmt::format("no key \"{}\"; {} has: {}", key, place, joined(members.names))};
    }
    if (members.given_twice) return {"", fmt::format("two keys \"{}\" in one object", parts[i])};
    scanner.go_to(*members.wanted);
    if (i + 1 == parts.size()) return text_at(scanner, key);
    walked += (walked.empty() ? "" : ".") + parts[i];
    if (scanner.peek() != '{' && scanner.peek() != '[') {
      return {"", fmt::format("no key \"{}\": \"{}\" is {}", key, walked, scanner.describe())};
    }
    members = read_members(scanner, parts[i + 1]);
  }
}

}  // namespace

JsonText find_json_text(std::string_view line, std::string_view key) {
  try {
    JsonScanner scanner(line);
    if (scanner.peek() != '{') {
      const std::string found = scanner.describe();
      scanner.skip_value();
      scanner.expect_end();
      return {"", fmt::format("expected a JSON object, found {}", found)};
    }
    const std::size_t begin = scanner.at();
    std::vector<std::string> parts{std::string(key)};
    Members members = read_members(scanner, key);
    scanner.expect_end();
    if (!members.wanted && key.find_first_of("./") != std::string_view::npos) {
      parts = parts_of(key);
      scanner.go_to(begin);
      members = read_members(scanner, parts.front());
    }
    return follow(scanner, parts, std::move(members), key);
  } catch (const JsonProblem& problem) {
    return {"", fmt::format("not valid JSON: {} (column {})", problem.what, problem.at + 1), false};
  }
}

JsonShape json_shape(std::string_view text) {
  try {
    JsonScanner scanner(text);
    const bool is_object = scanner.peek() == '{';
    scanner.skip_value();
    scanner.expect_end();
    return is_object ? JsonShape::object : JsonShape::other;
  } catch (const JsonProblem& problem) {
    return problem.is_at_end ? JsonShape::begun : JsonShape::none;
  }
}

}  // namespace gda
