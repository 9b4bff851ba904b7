// Matrix product: out = op(a) * op(b), out += op(a) * op(b), or out = addend + op(a) * op(b).
#pragma once

#include "gda/ops/context.h"

namespace gda {

struct MatmulOptions {
  bool transpose_a = false;
  bool transpose_b = false;
  bool accumulate = false;  // add to out instead of overwriting it
  Tensor addend = {};       // [m, n] as out; empty: none. Not together with accumulate
};

// op(a) [m, k], op(b) [k, n], out [m, n]; row strides are allowed on all of them. op(x) is x, or x
// transposed. out shares no memory with a, b or addend.
// a and b are of one compute type; out is of that type or of its accumulate type (bf16 operands may
// write f32). Products are summed in the accumulate type. With an addend a CPU rounds the product
// to out's type and then the sum, a GPU, whose product adds it on the way, the sum alone. A linear
// layer with weight W [out, in]:
//   forward          y  = x W^T      matmul(x, W, y, {.transpose_b = true})
//   with a residual  y  = h + x W^T  matmul(x, W, y, {.transpose_b = true, .addend = h})
//   input gradient   dx = dy W       matmul(dy, W, dx, {})
//   weight gradient  dW += dy^T x    matmul(dy, x, dW, {.transpose_a = true, .accumulate = true})
void matmul(const Context& context, const Tensor& a, const Tensor& b, const Tensor& out,
            const MatmulOptions& options = {});

// Whether bf16 products run on the device's own bf16 instructions. Where they do not, matmul widens
// bf16 operands to f32 in scratch memory: right, but slower and larger than computing in f32.
bool bf16_matmul_is_native(Device device = {});

}  // namespace gda
