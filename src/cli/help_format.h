// Help that fits the terminal.
#pragma once

#include <CLI/CLI.hpp>

#include <cstddef>
#include <string>

namespace gda::cli {

// Lines of help broken at blanks, so that none is wider than `width` unless a word is; what is
// indented goes on in the column of descriptions.
std::string wrapped(const std::string& text, std::size_t width);

// The end of help: prose is filled, and commands, which are indented or follow "Example: ", are
// continued on the next line by a backslash, so that they can be pasted.
std::string wrapped_footer(const std::string& text, std::size_t width);

// CLI11's, wrapped to the terminal: at most 100 columns.
class WrappedFormatter : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override;
};

}  // namespace gda::cli
