// Command-line options made from a list of configuration fields: key `noise_db` is --noise-db.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <string_view>

#include "gda/config/fields.h"

namespace gda::cli {

// Adds an option for each field that `root` visits; values go straight into the fields, which must
// outlive the parsing. Limits and rules are not checked: check_fields does that.
void add_field_options(CLI::App& command, const FieldWalk& root);

// A message of check_fields or of an operator with the keys at the beginning of its lines written
// as options.
std::string with_option_names(const std::string& message, const FieldWalk& root);

}  // namespace gda::cli
