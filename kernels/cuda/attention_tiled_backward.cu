#include "attention_gradients.cuh"

namespace gda::cuda::tiled {

bool fits_backward(const AttentionShape& shape) {
  return fits_backward_queries(shape) && fits_backward_keys(shape);
}

void attention_backward(const Context& context, const AttentionShape& shape, const Tensor& q,
                        const Tensor& k, const Tensor& v, const Tensor& first_key,
                        const Tensor& lse, const Tensor& dout, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  const Problem p = problem_of(shape, q, k, v, first_key);
  const Gradients g{
      {dout.data<bfloat16>(), dout.row_stride()}, lse.data<float>(), delta.data<float>()};
  backward_queries(context, shape, p, g, dq);
  backward_keys(context, shape, p, g, dk, dv);
}

}  // namespace gda::cuda::tiled
