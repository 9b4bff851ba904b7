// What the backward passes share.
#pragma once

#include "attention_hopper_tiles.cuh"

namespace gda::cuda::hopper {

struct Gradients {
  Rows<const bfloat16> dout;
  const float* lse;
  const float* delta;
};

// dq of a pack's rows; dk of each key head; dv of each value head.
void backward_queries(const Context& context, const AttentionShape& shape, const Problem& p,
                      const Gradients& g, const Tensor& dq);
void backward_keys(const Context& context, const AttentionShape& shape, const Problem& p,
                   const Gradients& g, const Tensor& dk);
void backward_values(const Context& context, const AttentionShape& shape, const Problem& p,
                     const Gradients& g, const Tensor& dv);

}  // namespace gda::cuda::hopper
