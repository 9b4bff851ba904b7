// Attention on tensor cores, for compute capability 8.0 and later: bf16, heads of 64, 96 or 128 and
// values as wide or twice as wide.
//
// Query heads that read the same key and value head are packed: a tile of queries is taken from all
// of them, so that it loads their keys and values once. Of grouped differential attention a tile
// has a group's signal heads, or its noise head, which is so computed once. Both passes have the
// same bits in every run: nothing is added by atomics, for which the backward pass computes scores
// twice, by queries and by keys.
#pragma once

#include "ops/attention_kernels.h"

namespace gda::cuda::tiled {

// Whether these kernels do it: type, widths, 16-byte alignment of all rows, every key head read
// with one value head, and tiles that fit into the device's shared memory. (99 KiB, of compute
// capability 8.6 and 8.9, are too few for the backward pass of values wider than 128.)
bool takes(const AttentionShape& shape, const Tensor& q, const Tensor& k, const Tensor& v,
           const Tensor& out);
bool takes_backward(const AttentionShape& shape, const Tensor& q, const Tensor& k, const Tensor& v,
                    const Tensor& dout, const Tensor& dq, const Tensor& dk, const Tensor& dv);

void attention_forward(const Context& context, const ops::AttentionForward& a);
// delta is there, and out is not read.
void attention_backward(const Context& context, const ops::AttentionBackward& a);

}  // namespace gda::cuda::tiled
