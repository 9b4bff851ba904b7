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

template <class T>
__global__ void __launch_bounds__(kThreads)
    forward_pairs(const T* attended, Gates<T> gates, T* out) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t pair =
      static_cast<std::int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (pair >= gates.count) return;  // a whole warp
  const T* a = attended + pair * 2 * gates.n;
  const auto s = sigmoid(widen(gates.at(pair)));
  for (int j = lane; j < gates.n; j += kWarp) {
    out[pair * gates.n + j] = static_cast<T>(widen(a[j]) - s * widen(a[gates.n + j]));
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    backward_pairs(const T* attended, Gates<T> gates, const T* dout, T* dattended,
                   Gates<T> dgates) {
  using V = accumulate_t<T>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t pair =
      static_cast<std::int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (pair >= gates.count) return;  // a whole warp
  const T* a = attended + pair * 2 * gates.n;
  T* da = dattended + pair * 2 * gates.n;
  const V s = sigmoid(widen(gates.at(pair)));
  V dot = 0;
  for (int j = lane; j < gates.n; j += kWarp) {
    const V gradient = widen(dout[pair * gates.n + j]);
    dot += gradient * widen(a[gates.n + j]);
    da[j] = static_cast<T>(gradient);
    da[gates.n + j] = static_cast<T>(-s * gradient);
  }
  dot = warp_sum(dot);
  if (lane == 0) dgates.at(pair) = static_cast<T>(-s * (1 - s) * dot);
}

}  // namespace

void gated_difference_forward(const Context& context, const Tensor& attended, const Tensor& gate,
                              const Tensor& out) {
  if (gate.elements() == 0) return;
  ops::with_compute_type(attended.dtype(), [&]<class T>(std::type_identity<T>) {
    launch(context, "gated_difference_forward", forward_pairs<T>,
           {.blocks = {blocks_for(gate.elements(), kWarps), 1, 1}, .threads = kThreads},
           attended.data<T>(), gates_of<T>(attended, gate), out.data<T>());
  });
}

void gated_difference_backward(const Context& context, const Tensor& attended, const Tensor& gate,
                               const Tensor& dout, const Tensor& dattended, const Tensor& dgate) {
  if (gate.elements() == 0) return;
  ops::with_compute_type(attended.dtype(), [&]<class T>(std::type_identity<T>) {
    launch(context, "gated_difference_backward", backward_pairs<T>,
           {.blocks = {blocks_for(gate.elements(), kWarps), 1, 1}, .threads = kThreads},
           attended.data<T>(), gates_of<T>(attended, gate), dout.data<T>(), dattended.data<T>(),
           gates_of<T>(attended, dgate));
  });
}

}  // namespace gda::cuda
