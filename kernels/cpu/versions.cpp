#include "gda/ops/versions.h"

#include <fmt/format.h>
#include <oneapi/dnnl/dnnl.h>

#include "isa.h"

namespace gda {

std::string cpu_versions() {
  const dnnl_version_t* dnnl = dnnl_version();
  return fmt::format("{}, oneDNN {}.{}.{}", cpu::name_of(cpu::isa()), dnnl->major, dnnl->minor,
                     dnnl->patch);
}

}  // namespace gda
