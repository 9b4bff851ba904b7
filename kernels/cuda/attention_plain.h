// Attention for every type and width: a thread takes a query (or a key), in plain loops. What
// tensor cores take runs in attention_tiled.h instead.
#pragma once

#include "ops/attention_kernels.h"

namespace gda::cuda::plain {

void attention_forward(const Context& context, const ops::AttentionForward& a);
// delta is there, and out is not read.
void attention_backward(const Context& context, const ops::AttentionBackward& a);

}  // namespace gda::cuda::plain
