// Running gda as a user does.
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>

#include "gda/core/file.h"

namespace gda::test {

struct ProgramResult {
  int code = -1;
  std::string out;
  std::string err;
};

// Runs `gda ARGUMENTS` in a shell; `folder` takes a scratch file.
inline ProgramResult run_program(const std::filesystem::path& folder,
                                 const std::string& arguments) {
  const std::string errors = (folder / "stderr").string();
  const std::string command = std::string(GDA_PROGRAM) + " " + arguments + " 2>" + errors;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  ProgramResult result;
  std::array<char, 4096> block{};
  for (std::size_t n = 0; (n = std::fread(block.data(), 1, block.size(), pipe)) > 0;) {
    result.out.append(block.data(), n);
  }
  const int status = ::pclose(pipe);
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  result.err = read_text_file(errors);
  return result;
}

}  // namespace gda::test
