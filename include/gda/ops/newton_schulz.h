// Newton-Schulz iterations towards the nearest matrix with orthonormal rows or columns, as Muon
// takes them (Jordan et al. 2024).
#pragma once

#include <array>

#include "gda/ops/context.h"

namespace gda {

// An odd polynomial a x + b x^3 + c x^5.
struct NewtonSchulzStep {
  double a;
  double b;
  double c;
};

// Singular values that begin within 0.002 and 1 end within 0.85 and 1.15, smaller ones below; on
// the way none is above 1.28.
constexpr std::array<NewtonSchulzStep, 5> kNewtonSchulzSteps{{{4.0848, -6.8946, 2.9270},
                                                              {3.9505, -6.3029, 2.6377},
                                                              {3.7418, -5.5913, 2.3037},
                                                              {2.8769, -3.1427, 1.2046},
                                                              {2.8366, -3.0525, 1.2012}}};
constexpr double kNewtonSchulzEps = 1e-7;

// Maps the singular values of u by the polynomials above, one after the other, and leaves its
// singular vectors as they are:
//   X = u / (||u||_F + eps);  five times X = a X + (b A + c A A) X with A = X X^T;  x = X
// u [R, C] contiguous, accumulate type; x [R, C] contiguous, compute type: that of all products.
// For R > C, A = X^T X is multiplied from the right. A matrix of zeros stays one; inf or NaN in u
// makes all of x NaN. u is not read any more when x is written: they may begin at one place.
//
// Scratch: x.bytes() and two matrices of x's type with min(R, C)^2 elements. Work: 10 products of
// 2 R C min(R, C) FLOPs and 5 of 2 min(R, C)^3.
void newton_schulz(const Context& context, const Tensor& u, const Tensor& x);

}  // namespace gda
