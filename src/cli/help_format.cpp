#include "cli/help_format.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

namespace gda::cli {
namespace {

constexpr std::size_t kDescriptions = 30;  // CLI11's column of descriptions
constexpr std::size_t kWidest = 100;
constexpr std::size_t kNarrowest = 50;

std::size_t terminal_width() {
  std::size_t width = kWidest;
  winsize window{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0) {
    width = window.ws_col;
  } else if (const char* columns = std::getenv("COLUMNS")) {
    width = std::strtoul(columns, nullptr, 10);
    if (width == 0) width = kWidest;
  }
  return std::clamp(width, kNarrowest, kWidest);
}

}  // namespace

std::string wrapped(const std::string& text, std::size_t width) {
  std::istringstream lines(text);
  std::string result;
  for (std::string line; std::getline(lines, line);) {
    const std::string indent(line.starts_with(' ') ? kDescriptions : 0, ' ');
    while (line.size() > width) {
      // A blank that is not of the indentation: before the edge, or the first one behind it.
      std::size_t blank = line.rfind(' ', width);
      if (blank == std::string::npos || blank <= indent.size()) {
        blank = line.find(' ', std::max(width, indent.size() + 1));
      }
      if (blank == std::string::npos) break;
      result.append(line, 0, blank).append("\n");
      line.replace(0, line.find_first_not_of(' ', blank), indent);
    }
    result.append(line).append("\n");
  }
  return result;
}

std::string WrappedFormatter::make_help(const CLI::App* app, std::string name,
                                        CLI::AppFormatMode mode) const {
  const std::string help = CLI::Formatter::make_help(app, std::move(name), mode);
  const std::string footer = mode == CLI::AppFormatMode::Normal ? make_footer(app) : "";
  if (footer.empty() || !help.ends_with(footer)) return wrapped(help, terminal_width());
  return wrapped(help.substr(0, help.size() - footer.size()), terminal_width()) + footer;
}

}  // namespace gda::cli
