#include "mask.cuh"
#include "ops/gated_activation_kernels.h"

namespace gda::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kMaxGridRows = 65535;

template <class V>
__device__ V sigmoid(V x) {
  return 1 / (1 + std::exp(-x));
}

template <class T, int kWidth, class Mask>
__global__ void __launch_bounds__(kThreads)
    forward_packs(Rows<T> gate, Rows<T> up, std::int64_t rows, std::int64_t packs, Mask mask,
                  Rows<T> out) {
  using P = Pack<T, kWidth>;
  const std::int64_t p = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (p >= packs) return;
  for (std::int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const P x = reinterpret_cast<const P*>(gate[row])[p];
    const P u = reinterpret_cast<const P*>(up[row])[p];
    P result;
    for (int k = 0; k < kWidth; ++k) {
      const auto value = widen(x.value[k]);
      result.value[k] =
          static_cast<T>(mask[p * kWidth + k] * value * sigmoid(value) * widen(u.value[k]));
    }
    reinterpret_cast<P*>(out[row])[p] = result;
  }
}

template <class T, int kWidth, class Mask>
__global__ void __launch_bounds__(kThreads)
    backward_packs(Rows<T> gate, Rows<T> up, Rows<T> dout, std::int64_t rows, std::int64_t packs,
                   Mask mask, Rows<T> dgate, Rows<T> dup) {
  using V = accumulate_t<T>;
  using P = Pack<T, kWidth>;
  const std::int64_t p = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (p >= packs) return;
  for (std::int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const P x = reinterpret_cast<const P*>(gate[row])[p];
    const P u = reinterpret_cast<const P*>(up[row])[p];
    const P g = reinterpret_cast<const P*>(dout[row])[p];
    P of_gate;
    P of_up;
    for (int k = 0; k < kWidth; ++k) {
      const V value = widen(x.value[k]);
      const V s = sigmoid(value);
      const V gradient = mask[p * kWidth + k] * widen(g.value[k]);
      of_up.value[k] = static_cast<T>(gradient * value * s);
      of_gate.value[k] = static_cast<T>(gradient * widen(u.value[k]) * (s + value * s * (1 - s)));
    }
    reinterpret_cast<P*>(dgate[row])[p] = of_gate;
    reinterpret_cast<P*>(dup[row])[p] = of_up;
  }
}

Grid grid_of(std::int64_t rows, std::int64_t packs) {
  return {.blocks = {blocks_for(packs, kThreads),
                     static_cast<unsigned>(std::min<std::int64_t>(rows, kMaxGridRows)), 1},
          .threads = kThreads};
}

}  // namespace

void swiglu_forward(const Context& context, const Tensor& gate, const Tensor& up, const Tensor& out,
                    const ColumnMask& mask) {
  if (out.elements() == 0) return;
  ops::with_compute_type(gate.dtype(), [&]<class T>(std::type_identity<T>) {
    with_pack_width<T>(in_packs(gate.dim(1), gate, up, out), [&](auto width) {
      constexpr int kWidth = decltype(width)::value;
      with_mask<accumulate_t<T>>(mask, gate.dim(1), [&]<class Mask>(const Mask& columns) {
        const std::int64_t packs = gate.dim(1) / kWidth;
        launch(context, "swiglu_forward", forward_packs<T, kWidth, Mask>,
               grid_of(gate.dim(0), packs), rows_of<T>(gate), rows_of<T>(up), gate.dim(0), packs,
               columns, rows_of<T>(out));
      });
    });
  });
}

void swiglu_backward(const Context& context, const ops::SwigluBackward& a) {
  if (a.dout.elements() == 0) return;
  ops::with_compute_type(a.gate.dtype(), [&]<class T>(std::type_identity<T>) {
    with_pack_width<T>(
        in_packs(a.gate.dim(1), a.gate, a.up, a.dout, a.dgate, a.dup), [&](auto width) {
          constexpr int kWidth = decltype(width)::value;
          with_mask<accumulate_t<T>>(a.mask, a.gate.dim(1), [&]<class Mask>(const Mask& columns) {
            const std::int64_t packs = a.gate.dim(1) / kWidth;
            launch(context, "swiglu_backward", backward_packs<T, kWidth, Mask>,
                   grid_of(a.gate.dim(0), packs), rows_of<T>(a.gate), rows_of<T>(a.up),
                   rows_of<T>(a.dout), a.gate.dim(0), packs, columns, rows_of<T>(a.dgate),
                   rows_of<T>(a.dup));
          });
        });
  });
}

}  // namespace gda::cuda
