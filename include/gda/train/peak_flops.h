// The ceiling that MFU is a share of.
#pragma once

#include "gda/ops/context.h"

namespace gda {

// FLOP/s of the best of several large matrix products of `compute` type, as this process runs them
// (its threads, its cores, its neighbours). Takes about half a second.
double measure_peak_flops(const Context& context, DType compute);

}  // namespace gda
