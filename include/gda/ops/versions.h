// CPU instruction set and matrix library in use.
#pragma once

#include <string>

namespace gda {

// The instruction set in use and the library of matrix products: "avx2, oneDNN 2.6.0". Throws
// ConfigError as GDA_CPU_ISA does.
std::string cpu_versions();

}  // namespace gda
