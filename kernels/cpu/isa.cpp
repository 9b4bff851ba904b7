#include "isa.h"

#include <cstdlib>

#include "gda/core/environment.h"
#include "gda/core/error.h"

namespace gda::cpu {
namespace {

bool has(Isa isa) {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == Isa::avx2) return avx2;
  if (isa == Isa::avx512) {
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
#endif
  return isa == Isa::baseline;
}

Isa find() {
  const char* wanted = environment("GDA_CPU_ISA");
  for (const Isa isa : {Isa::avx512, Isa::avx2, Isa::baseline}) {
    if (wanted != nullptr && name_of(isa) != wanted) continue;
    if (has(isa)) return isa;
    if (wanted != nullptr) break;
  }
  fail<ConfigError>(
      "GDA_CPU_ISA={}: expected baseline, avx2 or avx512, and one that this processor has", wanted);
}

}  // namespace

Isa isa() {
  static const Isa chosen = find();
  return chosen;
}

std::string_view name_of(Isa isa) {
  switch (isa) {
    case Isa::baseline:
      return "baseline";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "unknown";
}

}  // namespace gda::cpu
