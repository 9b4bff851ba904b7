#include "gda/report/start_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cstddef>

namespace gda {

void StartPage::section(std::string title) {
  sections_.push_back({std::move(title), {}});
}

void StartPage::row(std::string key, std::string value) {
  assert(!sections_.empty());
  sections_.back().rows.emplace_back(std::move(key), std::move(value));
}

std::string StartPage::str() const {
  std::size_t width = 0;
  for (const Section& section : sections_) {
    for (const auto& [key, value] : section.rows) width = std::max(width, key.size());
  }
  const std::string next_line = fmt::format("\n{:{}}", "", width + 4);
  std::string text;
  for (const Section& section : sections_) {
    if (section.rows.empty()) continue;
    text += section.title + "\n";
    for (const auto& [key, value] : section.rows) {
      std::string indented = value;
      for (std::size_t at = indented.find('\n'); at != std::string::npos;
           at = indented.find('\n', at + next_line.size())) {
        indented.replace(at, 1, next_line);
      }
      text += fmt::format("  {:<{}}  {}\n", key, width, indented);
    }
  }
  return text;
}

}  // namespace gda
