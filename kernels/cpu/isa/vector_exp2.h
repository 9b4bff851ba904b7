// 2^x on whole vectors.
#pragma once

#include "isa/vector.h"

namespace gda::cpu::GDA_ISA {

// 2^x in f32 within 2 ulp for x in [-126, 127]; smaller x, -inf too, give 0; NaN stays NaN. The
// caller keeps x <= 127. With n = round(x) and r = x - n, |r| <= 1/2 and exact, 2^x = 2^n 2^r;
// 2^r is a polynomial of degree 6, minimax in relative error (2e-9).
GDA_INLINE Vector vector_exp2(Vector x) {
  // Adding 1.5 * 2^23 rounds to an integer, which the low bits then hold; 127 is the bias that the
  // exponent field wants.
  const Vector magic = splat(12582912.0F + 127.0F);
  const Vector shifted = x + magic;
  const Vector r = x - (shifted - magic);
  Vector p = splat(1.5353362e-4F);
  p = p * r + splat(1.3398875e-3F);
  p = p * r + splat(9.6184369e-3F);
  p = p * r + splat(5.5503324e-2F);
  p = p * r + splat(2.4022648e-1F);
  p = p * r + splat(6.9314718e-1F);
  p = p * r + splat(1.0F);
  // A product, not a sum of bits: NaN times anything is NaN.
  const Vector power = reinterpret_cast<Vector>(reinterpret_cast<IntVector>(shifted) << 23);
  return x < splat(-126.0F) ? Vector{} : p * power;
}

}  // namespace gda::cpu::GDA_ISA
