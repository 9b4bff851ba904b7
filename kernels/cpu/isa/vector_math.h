// Elementary functions written without branches, so that loops over them become vector code.
#pragma once

#include <cstdint>

namespace gda::cpu::GDA_ISA {

// exp(x) in f32 within 2 ulp for x in [-87.3, 88.7]; smaller x give 0, larger x give inf's
// neighbourhood (2^128 is clamped), NaN stays NaN. Cody-Waite reduction to |r| <= ln(2)/2, then a
// polynomial of degree 6 (Cephes' coefficients).
inline __attribute__((always_inline)) float vector_exp(float x) {
  const float clamped = x < -87.33654F ? -87.33654F : (x > 88.72283F ? 88.72283F : x);
  const float shifted =
      clamped * 1.44269504088896341F + 12582912.0F;  // 1.5 * 2^23: round to integer
  const float n = shifted - 12582912.0F;
  const float r = (clamped - n * 0.693359375F) - n * -2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  // Two factors, because n + 127 reaches 255 at the upper end.
  const auto exponent = static_cast<std::int32_t>(n);
  const std::int32_t half = exponent >> 1;
  union Word {
    std::int32_t i;
    float f;
  };
  const Word low{(half + 127) << 23};
  const Word high{(exponent - half + 127) << 23};
  const float value = p * low.f * high.f;
  return x < -87.33654F ? 0.0F : value;
}

}  // namespace gda::cpu::GDA_ISA
