#include "attention_gradients.cuh"

namespace gda::cuda::tiled {

bool fits_backward(const AttentionShape& shape) {
  return fits_backward_queries(shape) && fits_backward_keys(shape);
}

void attention_backward(const Context& context, const ops::AttentionBackward& a) {
  const Problem p = problem_of(a.shape, a.q, a.k, a.v, a.first_key);
  const Gradients g{
      {a.dout.data<bfloat16>(), a.dout.row_stride()}, a.lse.data<float>(), a.delta.data<float>()};
  backward_queries(context, a.shape, p, g, a.dq);
  backward_keys(context, a.shape, p, g, a.dk, a.dv);
}

}  // namespace gda::cuda::tiled
