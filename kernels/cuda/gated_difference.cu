#include "numbers.cuh"
#include "ops/differential_kernels.h"

namespace gda::cuda {
namespace {

// A warp takes a gate: one pair of heads of a token.
constexpr int kWarps = 4;
constexpr unsigned kThreads = kWarps * kWarp;

template <class T>
struct Gates {
  Rows<T> gate;
  int heads;  // gates of a token
  int n;      // width of a head
  std::int64_t count;

  __device__ T& at(std::int64_t pair) const { return gate[pair / heads][pair % heads]; }
};

template <class T>
Gates<T> gates_of(const Tensor& attended, const Tensor& gate) {
  return {rows_of<T>(gate), static_cast<int>(gate.dim(1)),
          static_cast<int>(attended.dim(1) / (2 * gate.dim(1))), gate.elements()};
}

template <class V>
__device__ V sigmoid(V x) {
  return 1 / (1 + std::exp(-x));
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    forward_pairs(const T* attended, Gates<T> gates, T* out) {
  using P = Pack<T, kWidth>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t pair =
      static_cast<std::int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (pair >= gates.count) return;  // a whole warp
  const int packs = gates.n / kWidth;
  const auto* signal = reinterpret_cast<const P*>(attended + pair * 2 * gates.n);
  auto* to = reinterpret_cast<P*>(out + pair * gates.n);
  const auto s = sigmoid(widen(gates.at(pair)));
  for (int p = lane; p < packs; p += kWarp) {
    const P a = signal[p];
    const P b = signal[packs + p];
    P result;
    for (int k = 0; k < kWidth; ++k) {
      result.value[k] = static_cast<T>(widen(a.value[k]) - s * widen(b.value[k]));
    }
    to[p] = result;
  }
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    backward_pairs(const T* attended, Gates<T> gates, const T* dout, T* dattended,
                   Gates<T> dgates) {
  using V = accumulate_t<T>;
  using P = Pack<T, kWidth>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t pair =
      static_cast<std::int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (pair >= gates.count) return;  // a whole warp
  const int packs = gates.n / kWidth;
  const auto* noise = reinterpret_cast<const P*>(attended + (pair * 2 + 1) * gates.n);
  const auto* gradient = reinterpret_cast<const P*>(dout + pair * gates.n);
  auto* da = reinterpret_cast<P*>(dattended + pair * 2 * gates.n);
  const V s = sigmoid(widen(gates.at(pair)));
  V dot = 0;
  for (int p = lane; p < packs; p += kWarp) {
    const P g = gradient[p];
    const P b = noise[p];
    P of_noise;
    for (int k = 0; k < kWidth; ++k) {
      dot += widen(g.value[k]) * widen(b.value[k]);
      of_noise.value[k] = static_cast<T>(-s * widen(g.value[k]));
    }
    da[p] = g;
    da[packs + p] = of_noise;
  }
  dot = warp_sum(dot);
  if (lane == 0) dgates.at(pair) = static_cast<T>(-s * (1 - s) * dot);
}

// Whether heads of all these contiguous tensors begin on 16 bytes.
template <class... Tensors>
bool heads_in_packs(const Tensor& attended, const Tensor& gate, const Tensors&... tensors) {
  return in_packs(attended.dim(1) / (2 * gate.dim(1)), attended, tensors...);
}

}  // namespace

void gated_difference_forward(const Context& context, const Tensor& attended, const Tensor& gate,
                              const Tensor& out) {
  if (gate.elements() == 0) return;
  ops::with_compute_type(attended.dtype(), [&]<class T>(std::type_identity<T>) {
    with_pack_width<T>(heads_in_packs(attended, gate, out), [&](auto width) {
      launch(context, "gated_difference_forward", forward_pairs<T, decltype(width)::value>,
             {.blocks = {blocks_for(gate.elements(), kWarps), 1, 1}, .threads = kThreads},
             attended.data<T>(), gates_of<T>(attended, gate), out.data<T>());
    });
  });
}

void gated_difference_backward(const Context& context, const Tensor& attended, const Tensor& gate,
                               const Tensor& dout, const Tensor& dattended, const Tensor& dgate) {
  if (gate.elements() == 0) return;
  ops::with_compute_type(attended.dtype(), [&]<class T>(std::type_identity<T>) {
    with_pack_width<T>(heads_in_packs(attended, gate, dout, dattended), [&](auto width) {
      launch(context, "gated_difference_backward", backward_pairs<T, decltype(width)::value>,
             {.blocks = {blocks_for(gate.elements(), kWarps), 1, 1}, .threads = kThreads},
             attended.data<T>(), gates_of<T>(attended, gate), dout.data<T>(), dattended.data<T>(),
             gates_of<T>(attended, dgate));
    });
  });
}

}  // namespace gda::cuda
