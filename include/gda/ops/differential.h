// The combination of signal and noise heads.
//
// Grouped Differential Attention (arXiv 2510.06949; Differential Transformer, arXiv 2410.05258, is
// the case ratio = 1). Heads of `attended` are striped by noise group: `ratio` signal heads, then
// their noise head. With i = g * ratio + p:
//   D_i = S_i - lambda * N_g,   Y_i = (1 - lambda_init) * RMSNorm(D_i; subln, eps),
// RMSNorm over the 2d channels of a head. The noise output is shared, as GQA shares K and V.
#pragma once

#include "gda/ops/context.h"

namespace gda {

// lambda = exp(<q1, k1>) - exp(<q2, k2>) + lambda_init, a scalar a layer. Vectors [d], accumulate
// type.
struct LambdaVectors {
  Tensor q1, k1, q2, k2;
};

// lambda: one element of the accumulate type.
void lambda_forward(const Context& context, const LambdaVectors& vectors, double lambda_init,
                    const Tensor& lambda);

// dvectors += dlambda * dlambda/dvectors.
void lambda_backward(const Context& context, const LambdaVectors& vectors, const Tensor& dlambda,
                     const LambdaVectors& dvectors);

struct DifferentialShape {
  std::int64_t noise_heads = 0;
  std::int64_t ratio = 1;      // signal heads per noise head
  std::int64_t value_dim = 0;  // 2d
  double lambda_init = 0;
  double eps = 1e-5;

  std::int64_t signal_heads() const { return noise_heads * ratio; }
  std::int64_t heads() const { return noise_heads * (ratio + 1); }
};

// attended [N, heads * 2d] compute; lambda [1], subln [2d] accumulate; y [N, signal_heads * 2d]
// compute; rho [N, signal_heads] accumulate, saved for the backward pass.
void differential_forward(const Context& context, const DifferentialShape& shape,
                          const Tensor& attended, const Tensor& lambda, const Tensor& subln,
                          const Tensor& y, const Tensor& rho);

// dattended overwrites: dS_i = dD_i, dN_g = -lambda * sum_p dD_{g*ratio+p}.
// dsubln [2d] accumulates. dlambda [1] overwrites: -sum <dD_i, N_g>.
// delta, where it is not empty, gets what attention_backward otherwise computes from the same rows:
// <dattended, attended> of each row and head, [N, heads] accumulate, of dattended as rounded.
void differential_backward(const Context& context, const DifferentialShape& shape,
                           const Tensor& attended, const Tensor& lambda, const Tensor& subln,
                           const Tensor& rho, const Tensor& dy, const Tensor& dattended,
                           const Tensor& dsubln, const Tensor& dlambda, const Tensor& delta = {});

// Differential attention V2: out_i = A_{2i} - sigmoid(gate_i) * A_{2i+1}, gate a token and head.
// attended [N, 2h*d], gate [N, h], out [N, h*d], all compute; no norm, no lambda vectors. Row
// strides allowed on gate and dgate (columns of a fused QKV row).
void gated_difference_forward(const Context& context, const Tensor& attended, const Tensor& gate,
                              const Tensor& out);
void gated_difference_backward(const Context& context, const Tensor& attended, const Tensor& gate,
                               const Tensor& dout, const Tensor& dattended, const Tensor& dgate);

}  // namespace gda
