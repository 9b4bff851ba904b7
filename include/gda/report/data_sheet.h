// Peak FLOP/s of GPUs, by their makers' data sheets.
#pragma once

#include <optional>
#include <string_view>

#include "gda/core/device.h"
#include "gda/core/dtype.h"

namespace gda {

// FLOP/s of dense matrix products of `compute` type, accumulated in f32 (f64 for f64): by tensor
// cores for bf16 and, where they are for it, f64; without them for f32, since products of f32 are
// not rounded to tf32. Nothing for a GPU whose name and number of multiprocessors are not those of
// a data sheet, such as a part of one (MIG, vGPU) or a variant with less power, or if that is
// silent.
std::optional<double> data_sheet_flops(const DeviceFacts& facts, DType compute);

// "NVIDIA H100 80GB HBM3" -> "H100 80GB HBM3".
std::string_view short_name(std::string_view device);

}  // namespace gda
