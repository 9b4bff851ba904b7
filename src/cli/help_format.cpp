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
constexpr std::string_view kExample = "Example: ";
constexpr std::string_view kContinued = " \\";

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

// The last blank of a command that lies before `end` and in no quotes, else the first behind it;
// npos if there is none.
std::size_t blank_of_command(const std::string& line, std::size_t begin, std::size_t end) {
  std::size_t before = std::string::npos;
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (quote != 0) {
      if (line[i] == quote) quote = 0;
    } else if (line[i] == '\'' || line[i] == '"') {
      quote = line[i];
    } else if (line[i] == ' ' && i >= begin) {
      if (i > end) return before != std::string::npos ? before : i;
      before = i;
    }
  }
  return before;
}

std::string wrapped_command(std::string line, std::size_t width) {
  std::size_t begin = line.starts_with(kExample) ? kExample.size() : line.find_first_not_of(' ');
  const std::string indent(begin + 4, ' ');
  std::string result;
  while (line.size() > width) {
    const std::size_t blank = blank_of_command(line, begin, width - kContinued.size());
    if (blank == std::string::npos || line.substr(blank) == kContinued) break;
    result.append(line, 0, blank).append(kContinued).append("\n");
    line.replace(0, blank + 1, indent);
    begin = indent.size();
  }
  return result + line + "\n";
}

}  // namespace

std::string wrapped_footer(const std::string& text, std::size_t width) {
  std::istringstream lines(text);
  std::string result;
  std::string prose;
  const auto end_prose = [&] {
    if (!prose.empty()) result += wrapped(prose, width);
    prose.clear();
  };
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.starts_with(' ') || line.starts_with(kExample)) {
      end_prose();
      result += line.empty() ? "\n" : wrapped_command(line, width);
    } else {
      prose += (prose.empty() ? "" : " ") + line;
    }
  }
  end_prose();
  return result;
}

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
  return wrapped(help.substr(0, help.size() - footer.size()), terminal_width()) +
         wrapped_footer(footer, terminal_width());
}

}  // namespace gda::cli
