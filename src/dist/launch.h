// Detection of an MPI launcher that started this process as one of several.
#pragma once

#include <functional>

namespace gda::dist {

// The value of an environment variable, or null: gda/core/environment.h in the program.
using Environment = std::function<const char*(const char* name)>;

// Throws ConfigError when srun started several tasks without an MPI plugin: each would train alone.
bool launched_by_mpi(const Environment& environment);

}  // namespace gda::dist
