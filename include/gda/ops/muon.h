// The passes of Muon (Jordan et al. 2024) around Newton-Schulz iterations (newton_schulz.h), and of
// QK-clip (Kimi K2, arXiv 2507.20534): each reads and writes flat pieces of parameters once.
//
// Tensors are of the accumulate type unless another is named.
#pragma once

#include <cstdint>

#include "gda/ops/context.h"

namespace gda {

// Nesterov's momentum of a piece [n]; the gradient becomes the direction u of the update:
//   g = gradient_scale * gradient;  momentum = mu momentum + g;  gradient = g + mu momentum
void momentum_update(const Context& context, double mu, double gradient_scale,
                     const Tensor& gradient, const Tensor& momentum);

// y = scale x / (sqrt(squares) + eps). x [..]; squares [1] f64, as sum_of_squares gives it; y [..]
// contiguous, of x's type or of the compute type bf16. The factor is rounded once to x's type.
void scale_by_norm(const Context& context, double scale, const Tensor& x, const Tensor& squares,
                   double eps, const Tensor& y);

// master = (1 - decay) master - step x; copy = master rounded. All [n]; x of master's type or bf16;
// copy of master's type or bf16, or empty.
void apply_direction(const Context& context, double decay, double step, const Tensor& x,
                     const Tensor& master, const Tensor& copy);

// Elements [offset, offset + n) of a row-major matrix of `row_length` columns, whose row i is
// multiplied by factors[i]: master = factor master; copy = master rounded. master [n]; factors [R],
// R rows; copy as above. Rows of factor 1 are not written, so both keep their bits.
void scale_rows(const Context& context, const Tensor& factors, std::int64_t row_length,
                std::int64_t offset, const Tensor& master, const Tensor& copy);

}  // namespace gda
