#include "config/constraints.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace gda::config {
namespace {

// Levenshtein distance in which a swap of two neighbours counts once (optimal string alignment).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> above(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(above.begin(), above.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitution = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, substitution});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

}  // namespace

std::string number_text(double value) {
  // Whole numbers below 1e15 print without an exponent; fmt's default is the shortest exact form.
  if (value == std::floor(value) && std::abs(value) < 1e15) return fmt::format("{:.0f}", value);
  return fmt::format("{}", value);
}

std::string range_problem(const FieldInfo& info, double value) {
  if (!std::isfinite(value)) return fmt::format("must be a finite number, got {}", value);
  if (value < info.minimum) {
    return fmt::format("must be at least {}, got {}", number_text(info.minimum),
                       number_text(value));
  }
  if (value > info.maximum) {
    return fmt::format("must be at most {}, got {}", number_text(info.maximum), number_text(value));
  }
  return {};
}

std::string range_problem(const FieldInfo& info, std::int64_t value) {
  return range_problem(info, static_cast<double>(value));
}

std::string choice_problem(const FieldInfo& info, const std::string& value) {
  const std::vector<std::string>& allowed = info.one_of;
  if (allowed.empty() || std::find(allowed.begin(), allowed.end(), value) != allowed.end()) {
    return {};
  }
  return fmt::format("must be {}{}, got \"{}\"{}", allowed.size() > 1 ? "one of " : "",
                     fmt::join(allowed, ", "), value, suggestion(value, allowed));
}

std::string word_or_list_problem(const FieldInfo& info, const WordOrList& value) {
  const std::vector<std::string>& words = info.one_of;
  const auto expected = [&](const std::string& got) {
    return fmt::format("must be {} or a list of texts, got {}", fmt::join(words, ", "), got);
  };
  if (value.word.empty()) return value.list.empty() ? expected("an empty list") : std::string();
  if (std::find(words.begin(), words.end(), value.word) != words.end()) return {};
  const std::string hint = suggestion(value.word, words);
  return expected(fmt::format("\"{}\"{}", value.word, hint));
}

std::string timeline_problem(const FieldInfo& info, const Timeline& value) {
  if (value.points.empty()) return "must have at least one {step, value} point";
  std::int64_t previous = -1;
  for (const Timeline::Point& point : value.points) {
    if (point.step < 0) return fmt::format("a step must be at least 0, got {}", point.step);
    if (point.step <= previous) {
      return fmt::format("steps must rise strictly, got {} after {}", point.step, previous);
    }
    if (std::string problem = range_problem(info, point.value); !problem.empty()) {
      return fmt::format("value at step {} {}", point.step, problem);
    }
    previous = point.step;
  }
  return {};
}

std::string suggestion(std::string_view word, const std::vector<std::string>& candidates) {
  // A third of the letters wrong is still a misspelling; more is another word. A candidate that
  // the word begins or ends with (or the other way round) counts as near, too.
  std::string_view nearest;
  std::size_t least = std::numeric_limits<std::size_t>::max();
  for (const std::string& candidate : candidates) {
    const std::string_view shorter = word.size() < candidate.size() ? word : candidate;
    const std::string_view longer = word.size() < candidate.size() ? candidate : word;
    const bool is_part =
        shorter.size() >= 3 && (longer.starts_with(shorter) || longer.ends_with(shorter));
    const std::size_t distance = edit_distance(word, candidate);
    const bool is_near = is_part || distance <= std::max<std::size_t>(1, longer.size() / 3);
    if (is_near && distance < least) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest.empty() ? std::string{} : fmt::format("; did you mean \"{}\"?", nearest);
}

std::string join_path(std::string_view path, std::string_view key) {
  if (path.empty() || key.empty()) return std::string(path.empty() ? key : path);
  return fmt::format("{}.{}", path, key);
}

}  // namespace gda::config
