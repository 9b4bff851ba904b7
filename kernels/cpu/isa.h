// Kernels in kernels/cpu/isa are compiled once for each instruction set; the best that the
// processor has is chosen when the program runs, so one build serves every machine.
//
// A file isa/x.cpp defines its functions in namespace gda::cpu::GDA_ISA (a compile definition:
// baseline, avx2 or avx512) and fills one constant table of function pointers, declared in isa/x.h.
// It must not instantiate templates or inline functions shared with other files (std:: containers,
// fmt): the linker keeps one copy of those, and it might be the one that an older processor cannot
// run.
#pragma once

#include <string_view>

namespace gda::cpu {

enum class Isa { baseline, avx2, avx512 };

// The instruction set in use: the best of the processor, or the environment variable GDA_CPU_ISA
// (baseline | avx2 | avx512) if it names one that the processor has; otherwise ConfigError.
Isa isa();
std::string_view name_of(Isa isa);

// The table that belongs to isa().
template <class Table>
const Table& choose(const Table& baseline, const Table& avx2, const Table& avx512) {
  switch (isa()) {
    case Isa::avx512:
      return avx512;
    case Isa::avx2:
      return avx2;
    case Isa::baseline:
      return baseline;
  }
  return baseline;
}

}  // namespace gda::cpu
