// Execution context of an operator: its stream and its scratch memory.
//
// Conventions of every operator in gda/ops:
//   * Legend: B sequences, T tokens a sequence, N = B*T rows, D hidden size, H heads, d head
//   dimension,
//     F feed-forward size, V vocabulary size.
//   * "compute" tensors (matrices, activations) are f64, f32 or bf16, all of one type in a call;
//     "accumulate" tensors (norm weights, lambda, statistics, parameter gradients) are
//     accumulate_type(compute). f64 runs the plain-loop reference that judges the others.
//   * Backward: gradients of parameters accumulate (+=), gradients of activations overwrite.
//     A parameter whose gradient is an empty tensor is frozen: its gradient is not computed.
//   * Arguments are checked on the host before any work; OpError messages begin with "[op_name]".
#pragma once

#include "gda/core/memory.h"

namespace gda {

struct Context {
  Stream stream;
  Arena& arena;  // scratch: operators rewind what they take
  // The same bits in every process. Otherwise a GPU's matrix products run the algorithm that was
  // the fastest when they were first met, which may differ from process to process in the last
  // bits.
  bool reproducible = false;

  Device device() const { return stream.device; }
};

}  // namespace gda
