#include "isa/rope.h"

#include "isa/element.h"

namespace gda::cpu::GDA_ISA {
namespace {

template <bool back, class T>
void rotate(T* x, std::int64_t heads, std::int64_t half, const float* cosine, const float* sine) {
  for (std::int64_t h = 0; h < heads; ++h) {
    T* first = x + h * 2 * half;
    T* second = first + half;
#pragma omp simd
    for (std::int64_t j = 0; j < half; ++j) {
      const float a = load(first[j]);
      const float b = load(second[j]);
      const float s = back ? -sine[j] : sine[j];
      store(first[j], a * cosine[j] - b * s);
      store(second[j], b * cosine[j] + a * s);
    }
  }
}

}  // namespace

const RowTable<RopeRows> kRope{.f32 = {.rotate = rotate<false>, .rotate_back = rotate<true>},
                               .bf16 = {.rotate = rotate<false>, .rotate_back = rotate<true>}};

}  // namespace gda::cpu::GDA_ISA
