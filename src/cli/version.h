// Versions of this program and its parts: for bug reports, and to tell builds apart.
#pragma once

#include <nlohmann/json.hpp>

#include <string>

namespace gda::cli {

// gda, commit, date, compiler, cpu, cuda, nccl, mpi, libraries.
nlohmann::ordered_json version_facts();

// The same for people: "gda 0.1.0 (commit, date)", then a line for each of the others.
std::string version_page();

}  // namespace gda::cli
