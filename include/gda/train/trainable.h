// Trainable parameters of a run: train.trainable, which is `all`, `new` or a list of patterns.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gda/config/fields.h"
#include "gda/model/parameters.h"

namespace gda {

// Whether the pattern matches the whole name: * stands for any letters, dots included, and ? for
// one.
bool matches(std::string_view pattern, std::string_view name);

// Message about the first pattern that matches no parameter, with the name that comes nearest;
// empty if there is none.
std::string pattern_problem(const WordOrList& trainable, const std::vector<ParameterSpec>& specs);

// Sets ParameterSpec::trainable of all. `new`: those named in `added`, what the last growth added
// whole (GrowthState::added), as LLaMA Pro does (arXiv 2401.02415): norms of new layers are among
// them, and embedding, final norm and lm_head are not. ConfigError, which says where they were
// looked for (`origin`), when `added` is empty; and for a pattern that matches nothing.
void choose_trainable(const WordOrList& trainable, const std::vector<std::string>& added,
                      std::string_view origin, std::vector<ParameterSpec>& specs);

}  // namespace gda
