// Variables of the environment.
#pragma once

#include <cstdlib>

namespace gda {

// The value of a variable; null if it is not set, or set to nothing, as scripts leave a variable
// that they were not given.
inline const char* environment(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

}  // namespace gda
