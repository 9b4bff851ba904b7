// What the emulated NCCL does with the numbers of several ranks.
#pragma once

#include <cstddef>

#include "nccl.h"

namespace gda::emulation {

// to[i] = the combination of terms[r * count + i] over the ranks r. On its way from rank to rank a
// sum has the type of its terms, bf16 too.
void combine(const std::byte* terms, void* to, std::size_t count, std::size_t ranks,
             ncclDataType_t type, ncclRedOp_t operation);

}  // namespace gda::emulation
