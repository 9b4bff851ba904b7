// Scalars of a configuration tree as numbers, with a message when they are not.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "config/tree.h"

namespace gda::config {

// Text as a number: decimal, with an optional sign, fraction and exponent; nothing else (no
// infinity, NaN, hexadecimal or digit separators).
std::optional<double> parse_number(std::string_view text);
// Also accepts a fraction or exponent when the value is whole, such as 1e6.
std::optional<std::int64_t> parse_integer(std::string_view text);

// Plain words that YAML readers take for something other than text.
bool is_reserved_word(std::string_view text);

// These leave `value` and set `problem` when the node is of another type.
bool read_scalar(const ConfigNode& node, bool& value, std::string& problem);
bool read_scalar(const ConfigNode& node, std::int64_t& value, std::string& problem);
bool read_scalar(const ConfigNode& node, double& value, std::string& problem);
bool read_scalar(const ConfigNode& node, std::string& value, std::string& problem);

}  // namespace gda::config
