// Attention in f32 and bf16 (computed in f32) by tiles, in parallel.
#pragma once

#include "ops/attention_kernels.h"

namespace gda::cpu::tiled {

// One task is a tile of queries of a few heads that share keys and values: each tile of K and V is
// read once for them all.
void attention_forward(const Context& context, const ops::AttentionForward& a);

// One task is all heads of a sequence that share keys or values: it alone writes their dK and dV.
// Where that gives too few tasks, each is split by its queries and the parts are added in order.
void attention_backward(const Context& context, const ops::AttentionBackward& a);

}  // namespace gda::cpu::tiled
