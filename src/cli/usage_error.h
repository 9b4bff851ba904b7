// Messages for errors on the command line, which name the word at fault.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

namespace gda::cli {

// For an error that app.parse has thrown: one line, and how to get help.
std::string usage_error(const CLI::App& app, const CLI::ParseError& error);

}  // namespace gda::cli
