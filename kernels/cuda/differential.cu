#include "column_sums.cuh"
#include "ops/differential_kernels.h"
#include "ops/elementwise_kernels.h"

namespace gda::cuda {
namespace {

// A warp takes a token's stripe: `ratio` signal heads, then their noise head, n = 2d wide. (d = 128
// in bf16: a pack a lane.)
constexpr int kWarps = 4;
constexpr unsigned kThreads = kWarps * kWarp;

template <class V>
struct Stripe {
  int ratio;
  int n;
  V scale;  // 1 - lambda_init
  V eps;
};

template <class V>
Stripe<V> stripe_of(const DifferentialShape& shape) {
  return {static_cast<int>(shape.ratio), static_cast<int>(shape.value_dim),
          static_cast<V>(1 - shape.lambda_init), static_cast<V>(shape.eps)};
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    forward_stripes(const T* attended, const accumulate_t<T>* lambda, const accumulate_t<T>* subln,
                    Stripe<accumulate_t<T>> s, std::int64_t stripes, T* y, accumulate_t<T>* rho) {
  using V = accumulate_t<T>;
  using P = Pack<T, kWidth>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t stripe =
      static_cast<std::int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (stripe >= stripes) return;  // a whole warp
  const int packs = s.n / kWidth;
  const auto* heads = reinterpret_cast<const P*>(attended + stripe * (s.ratio + 1) * s.n);
  const P* noise = heads + static_cast<std::int64_t>(s.ratio) * packs;
  const V l = *lambda;
  for (int head = 0; head < s.ratio; ++head) {
    const P* signal = heads + static_cast<std::int64_t>(head) * packs;
    auto* out = reinterpret_cast<P*>(y + (stripe * s.ratio + head) * s.n);
    V sum = 0;
    for (int p = lane; p < packs; p += kWarp) {
      const P a = signal[p];
      const P b = noise[p];
      for (int k = 0; k < kWidth; ++k) {
        const V difference = widen(a.value[k]) - l * widen(b.value[k]);
        sum += difference * difference;
      }
    }
    const V r = 1 / std::sqrt(warp_sum(sum) / static_cast<V>(s.n) + s.eps);
    for (int p = lane; p < packs; p += kWarp) {
      const P a = signal[p];
      const P b = noise[p];
      P result;
      for (int k = 0; k < kWidth; ++k) {
        const V difference = widen(a.value[k]) - l * widen(b.value[k]);
        result.value[k] = static_cast<T>(s.scale * subln[p * kWidth + k] * difference * r);
      }
      out[p] = result;
    }
    if (lane == 0) rho[stripe * s.ratio + head] = r;
  }
}

// Each warp takes every (gridDim.x * kWarps)-th stripe. Its sums over them, dsubln and dlambda, and
// the noise head's gradient of the stripe at hand are in shared memory: [kWarps, 2, n].
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    backward_stripes(const T* attended, const accumulate_t<T>* lambda, const accumulate_t<T>* subln,
                     const accumulate_t<T>* rho, const T* dy, Stripe<accumulate_t<T>> s,
                     std::int64_t stripes, T* dattended, accumulate_t<T>* dsubln_partial,
                     double* dlambda_partial) {
  using V = accumulate_t<T>;
  using P = Pack<T, kWidth>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const Shared<V> sums = shared_memory<V>(0, kWarps * 2 * s.n);
  const int weight_at = warp * 2 * s.n;
  const int noise_at = weight_at + s.n;
  const int packs = s.n / kWidth;
  const V l = *lambda;
  double dlambda = 0;
  for (int j = lane; j < s.n; j += kWarp) sums[weight_at + j] = 0;
  __syncwarp();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp;
  for (std::int64_t stripe = first; stripe < stripes; stripe += gridDim.x * kWarps) {
    const auto* heads = reinterpret_cast<const P*>(attended + stripe * (s.ratio + 1) * s.n);
    auto* gradients = reinterpret_cast<P*>(dattended + stripe * (s.ratio + 1) * s.n);
    const std::int64_t noise_head = static_cast<std::int64_t>(s.ratio) * packs;
    for (int head = 0; head < s.ratio; ++head) {
      const P* signal = heads + static_cast<std::int64_t>(head) * packs;
      const auto* dout = reinterpret_cast<const P*>(dy + (stripe * s.ratio + head) * s.n);
      const V r = rho[stripe * s.ratio + head];
      V dot = 0;
      for (int p = lane; p < packs; p += kWarp) {
        const P a = signal[p];
        const P b = heads[noise_head + p];
        const P g = dout[p];
        for (int k = 0; k < kWidth; ++k) {
          const V difference = widen(a.value[k]) - l * widen(b.value[k]);
          dot += subln[p * kWidth + k] * widen(g.value[k]) * difference;
        }
      }
      dot = s.scale * warp_sum(dot) * r * r * r / static_cast<V>(s.n);
      for (int p = lane; p < packs; p += kWarp) {
        const P a = signal[p];
        const P b = heads[noise_head + p];
        const P g = dout[p];
        P result;
        for (int k = 0; k < kWidth; ++k) {
          const int j = p * kWidth + k;
          const V noise = widen(b.value[k]);
          const V difference = widen(a.value[k]) - l * noise;
          const V dout_j = s.scale * widen(g.value[k]);
          const V gradient = r * subln[j] * dout_j - difference * dot;
          result.value[k] = static_cast<T>(gradient);
          sums[weight_at + j] += dout_j * difference * r;
          sums[noise_at + j] = (head == 0 ? V(0) : sums[noise_at + j]) + gradient;
          dlambda -= static_cast<double>(gradient) * static_cast<double>(noise);
        }
        gradients[static_cast<std::int64_t>(head) * packs + p] = result;
      }
    }
    for (int p = lane; p < packs; p += kWarp) {  // each lane reads what it wrote
      P result;
      for (int k = 0; k < kWidth; ++k) {
        result.value[k] = static_cast<T>(-l * sums[noise_at + p * kWidth + k]);
      }
      gradients[noise_head + p] = result;
    }
  }
  dlambda = warp_sum(dlambda);
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp;
  if (lane == 0) dlambda_partial[at] = dlambda;
  if (dsubln_partial == nullptr) return;
  __syncwarp();
  for (int j = lane; j < s.n; j += kWarp) dsubln_partial[at * s.n + j] = sums[weight_at + j];
}

}  // namespace

void differential_forward(const Context& context, const DifferentialShape& shape,
                          const Tensor& attended, const Tensor& lambda, const Tensor& subln,
                          const Tensor& y, const Tensor& rho) {
  const std::int64_t stripes = attended.dim(0) * shape.noise_heads;
  if (stripes == 0) return;
  const std::int64_t n = shape.value_dim;
  ops::with_compute_type(attended.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    with_pack_width<T>(in_packs(n, attended, y), [&](auto width) {
      launch(context, "differential_forward", forward_stripes<T, decltype(width)::value>,
             {.blocks = {blocks_for(stripes, kWarps), 1, 1}, .threads = kThreads},
             attended.data<T>(), lambda.data<V>(), subln.data<V>(), stripe_of<V>(shape), stripes,
             y.data<T>(), rho.data<V>());
    });
  });
}

void differential_backward(const Context& context, const DifferentialShape& shape,
                           const Tensor& attended, const Tensor& lambda, const Tensor& subln,
                           const Tensor& rho, const Tensor& dy, const Tensor& dattended,
                           const Tensor& dsubln, const Tensor& dlambda) {
  constexpr const char* kName = "differential_backward";
  const std::int64_t stripes = attended.dim(0) * shape.noise_heads;
  if (stripes == 0) return cuda::fill_zero(context, dlambda);
  const std::int64_t n = shape.value_dim;
  const unsigned blocks = row_blocks((stripes + kWarps - 1) / kWarps);
  const std::int64_t parts = static_cast<std::int64_t>(blocks) * kWarps;
  const ArenaScope scope(context.arena);
  ops::with_compute_type(attended.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    V* dsubln_partial = nullptr;
    if (dsubln) {
      dsubln_partial = context.arena.allocate(dtype_of<V>, {parts, n}).template data<V>();
    }
    double* dlambda_partial = context.arena.allocate(DType::f64, {parts}).data<double>();
    with_pack_width<T>(in_packs(n, attended, dy, dattended), [&](auto width) {
      launch(context, kName, backward_stripes<T, decltype(width)::value>,
             {.blocks = {blocks, 1, 1},
              .threads = kThreads,
              .shared_bytes = sizeof(V) * kWarps * 2 * static_cast<std::size_t>(n)},
             attended.data<T>(), lambda.data<V>(), subln.data<V>(), rho.data<V>(), dy.data<T>(),
             stripe_of<V>(shape), stripes, dattended.data<T>(), dsubln_partial, dlambda_partial);
    });
    if (dsubln) {
      add_partials(context, kName, static_cast<const V*>(dsubln_partial), parts, n, V(1), true,
                   dsubln.data<V>());
    }
    add_partials(context, kName, static_cast<const double*>(dlambda_partial), parts, 1, 1.0, false,
                 dlambda.data<V>());
  });
}

}  // namespace gda::cuda
