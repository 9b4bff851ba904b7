// Attention on Hopper's tensor cores (compute capability 9.0): bf16, heads of 64 or 128 and values
// as wide or twice as wide.
//
// Two warpgroups keep 128 rows, queries or keys, and let the others go by in steps of 64 or 128.
// Products are asynchronous (wgmma), and the scores of one step are computed under the sums of the
// step before. Query heads that read the same key and value head are packed as in
// attention_tiled.h.
// There are four such passes: forward, dq, dk, dv. The backward ones compute scores anew each, so
// that nothing is added by atomics and the bits are the same in every run; no pass sends weights
// through memory.
#pragma once

#include "ops/attention_kernels.h"

namespace gda::cuda::hopper {

// Whether these kernels do it, on the context's device. The environment variable GDA_ATTENTION
// = portable leaves it to attention_tiled.h.
bool takes(const Context& context, const AttentionShape& shape, const Tensor& q, const Tensor& k,
           const Tensor& v, const Tensor& out);

void attention_forward(const Context& context, const ops::AttentionForward& a);
// delta is there, and out is not read.
void attention_backward(const Context& context, const ops::AttentionBackward& a);

}  // namespace gda::cuda::hopper
