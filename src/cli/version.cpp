#include "cli/version.h"

#include <fmt/core.h>

#include "build_info.h"
#include "gda/core/device.h"
#include "gda/dist/versions.h"
#include "gda/ops/versions.h"

namespace gda::cli {
namespace {

std::string cuda_line() {
  std::string text = cuda_versions();
  const std::string nccl = nccl_version();
  if (!nccl.empty()) text += ", " + nccl;
  if (*GDA_CUDA_ARCHITECTURES != '\0') text += ", for " GDA_CUDA_ARCHITECTURES;
  return text;
}

std::string compiler_line() {
#if defined(__clang__)
  return "clang " __clang_version__ ", " GDA_BUILD_TYPE;
#else
  return "g++ " __VERSION__ ", " GDA_BUILD_TYPE;
#endif
}

}  // namespace

nlohmann::ordered_json version_facts() {
  return {{"gda", GDA_VERSION},        {"commit", GDA_COMMIT}, {"compiler", compiler_line()},
          {"cpu", cpu_versions()},     {"cuda", cuda_line()},  {"mpi", mpi_version()},
          {"libraries", GDA_LIBRARIES}};
}

std::string version_page() {
  std::string page = "gda " GDA_VERSION " (" GDA_COMMIT ")";
  const nlohmann::ordered_json facts = version_facts();
  for (const auto& [name, value] : facts.items()) {
    if (name == "gda" || name == "commit") continue;
    page += fmt::format("\n{:10} {}", name, value.get<std::string>());
  }
  return page;
}

}  // namespace gda::cli
