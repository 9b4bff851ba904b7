// The gated feed-forward product: out = activation(gate) * up, or with a mask c (column_mask.h)
// out_j = c_j activation(gate_j) up_j, so that units with c_j = 0 give nothing and get no gradient.
#pragma once

#include <functional>

#include "gda/ops/column_mask.h"
#include "gda/ops/context.h"

namespace gda {

// SwiGLU (Shazeer 2020): activation(x) = x * sigmoid(x). It does not use mask.sum.
// gate, up, out [N, F] compute; row strides allowed on gate and up (halves of one fused row) and on
// their gradients.
void swiglu_forward(const Context& context, const Tensor& gate, const Tensor& up, const Tensor& out,
                    const ColumnMask& mask = {});
void swiglu_backward(const Context& context, const Tensor& gate, const Tensor& up,
                     const Tensor& dout, const Tensor& dgate, const Tensor& dup,
                     const ColumnMask& mask = {});

constexpr double kPolyNormEps = 1e-6;  // Motif's

// Where places share the units of a layer: how many they have together (0: all are here), and what
// adds a tensor of the accumulate type to those of the other places, in place. Every place calls it
// once a pass, for as many rows; not where the context's arena only counts (Arena::plan).
struct UnitPart {
  std::int64_t total = 0;
  std::function<void(const Tensor&)> sum = nullptr;
};

// PolyNorm (Motif, arXiv 2508.09148): activation(x) = w0 n(x^3) + w1 n(x^2) + w2 n(x) + b with
// n(z) = z / sqrt(mean_F(z^2) + eps). Powers and sums in the accumulate type.
// weight [3] and bias [1] accumulate; dweight and dbias accumulate.
// The activation couples the units of a row through its means, so a mask enters there as well, or
// units with c_j = 0 would still move the others. With S = sum_j c_j (without a mask, F):
//   r_k = (sum_j c_j x_j^{2k} / S + eps)^(-1/2),  g_j = c_j up_j dout_j
//   dx_j = sum_k w_k k [g_j x_j^{k-1} r_k - c_j r_k^3 x_j^{2k-1} (sum_i g_i x_i^k) / S]
//   dw_k += sum_j g_j x_j^k r_k,  db += sum_j g_j,  dup_j = c_j activation(x_j) dout_j
// where w_k is the weight of x^k.
// Of a part, the tensors hold its F units, while the sums in r_k and dx_j and S (part.total, or
// with a mask mask.sum) are over the units of all places. dw_k and db get this place's terms of
// their sums: the sum over all places completes them.
void poly_norm_forward(const Context& context, const Tensor& gate, const Tensor& up,
                       const Tensor& weight, const Tensor& bias, const Tensor& out,
                       const ColumnMask& mask = {}, double eps = kPolyNormEps,
                       const UnitPart& part = {});
void poly_norm_backward(const Context& context, const Tensor& gate, const Tensor& up,
                        const Tensor& weight, const Tensor& bias, const Tensor& dout,
                        const Tensor& dgate, const Tensor& dup, const Tensor& dweight,
                        const Tensor& dbias, const ColumnMask& mask = {}, double eps = kPolyNormEps,
                        const UnitPart& part = {});

}  // namespace gda
