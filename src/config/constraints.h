// Validation of values of configuration fields: messages for unacceptable ones.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gda/config/fields.h"

namespace gda::config {

// A number as a person would write it: the fewest digits that read back as the same double.
std::string number_text(double value);

// Each of these is empty when the value is acceptable.
std::string range_problem(const FieldInfo& info, double value);
std::string range_problem(const FieldInfo& info, std::int64_t value);
std::string choice_problem(const FieldInfo& info, const std::string& value);
std::string word_or_list_problem(const FieldInfo& info, const WordOrList& value);
// Points must be there and their steps must rise strictly from 0 or later.
std::string timeline_problem(const FieldInfo& info, const Timeline& value);

// `; did you mean "x"?` for the candidate nearest to `word` by edit distance, or nothing when none
// is near enough to be a misspelling.
std::string suggestion(std::string_view word, const std::vector<std::string>& candidates);

// "a.b" from "a" and "b"; either may be empty.
std::string join_path(std::string_view path, std::string_view key);

}  // namespace gda::config
