// Text that goes through a shell, or is written as for one.
#pragma once

#include <string>
#include <string_view>

namespace gda {

// The word as a POSIX shell has to be given it: in quotes where it is not plain.
std::string shell_word(std::string_view word);

// A path with "~" or "~/" at its beginning and ${NAME} or $NAME anywhere replaced as a shell would.
// ConfigError for a variable that is not set or empty, for ${...} of another form, for ~user and
// for HOME not set. "\$" is a dollar sign, "./~" the file of that name.
std::string expand_path(std::string_view path);

// What expand_path turns into this path.
std::string unexpanded_path(std::string_view path);

}  // namespace gda
