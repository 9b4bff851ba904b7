// JSON of checkpoint files: parsed strictly, with messages that name the file.
#pragma once

#include <nlohmann/json.hpp>

#include <string_view>

namespace gda {

// Of the files that people read, too.
constexpr int kJsonIndent = 2;

// Throws FormatError "{origin}: ..." for text that is not JSON, and for an object that has a key
// twice.
nlohmann::json parse_json(std::string_view text, std::string_view origin);

}  // namespace gda
