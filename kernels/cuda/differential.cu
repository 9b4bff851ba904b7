#include "column_sums.cuh"
#include "ops/backend.h"
#include "ops/differential_kernels.h"

namespace gda::cuda {
namespace {

// A warp takes a token's stripe: `ratio` signal heads, then their noise head, n = 2d wide. (d = 128
// in bf16: a pack a lane.)
constexpr int kWarps = 4;
constexpr unsigned kThreads = kWarps * kWarp;

// Blocks of the backward pass: about as many as are on 132 multiprocessors at once (8 each, of 64
// registers a thread), so that enough loads are under way. None of them comes twice.
constexpr unsigned kBackwardBlocks = 1024;

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
    forward_stripes(const T* attended, const accumulate_t<T>* lambda, Vector<accumulate_t<T>> subln,
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
      const auto w = subln.template pack<kWidth>(p);
      P result;
      for (int k = 0; k < kWidth; ++k) {
        const V difference = widen(a.value[k]) - l * widen(b.value[k]);
        result.value[k] = static_cast<T>(s.scale * w.value[k] * difference * r);
      }
      out[p] = result;
    }
    if (lane == 0) rho[stripe * s.ratio + head] = r;
  }
}

// Stores dN = -lambda * the sum of dD, each lane what it summed. Gives the lane's part of <dN, N>.
template <class T, int kWidth>
__device__ accumulate_t<T> store_noise(const SharedSums<accumulate_t<T>, kWidth>& sums,
                                       accumulate_t<T> lambda, const Pack<T, kWidth>* noise,
                                       Pack<T, kWidth>* gradient) {
  constexpr int kPart = SharedSums<accumulate_t<T>, kWidth>::kPart;
  accumulate_t<T> dot = 0;
  for (int p = static_cast<int>(threadIdx.x) % kWarp; p < sums.packs; p += kWarp) {
    const Pack<T, kWidth> b = noise[p];
    Pack<T, kWidth> result;
    for (int k = 0; k < kWidth; ++k) {
      result.value[k] = static_cast<T>(-lambda * sums.part(p, k / kPart)[k % kPart]);
      dot += widen(result.value[k]) * widen(b.value[k]);
    }
    gradient[p] = result;
  }
  return dot;
}

// Each warp takes every (gridDim.x * kWarps)-th stripe. Its sums over them, dsubln and dlambda, and
// the noise head's gradient of the stripe at hand are in shared memory: [kWarps, 2, n], then
// dlambda [kWarps]. The block leaves the sums over its warps.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    backward_stripes(const T* attended, const accumulate_t<T>* lambda,
                     Vector<accumulate_t<T>> subln, const accumulate_t<T>* rho, const T* dy,
                     Stripe<accumulate_t<T>> s, std::int64_t stripes, T* dattended,
                     accumulate_t<T>* delta, accumulate_t<T>* dsubln_partial,
                     double* dlambda_partial) {
  using V = accumulate_t<T>;
  using P = Pack<T, kWidth>;
  using Sums = SharedSums<V, kWidth>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const Shared<V> memory = shared_memory<V>(0, kWarps * 2 * s.n);
  const Shared<double> dlambdas =
      shared_memory<double>(static_cast<int>(kWarps * 2 * s.n * sizeof(V)), kWarps);
  const int packs = s.n / kWidth;
  const Sums weight_sums{memory, warp * 2 * s.n, packs};
  const Sums noise_sums{memory, (warp * 2 + 1) * s.n, packs};
  const V l = *lambda;
  const auto store_delta = [&](std::int64_t stripe, int head, V part) {
    if (delta == nullptr) return;
    const V sum = warp_sum(part);
    if (lane == 0) delta[stripe * (s.ratio + 1) + head] = sum;
  };
  double dlambda = 0;
  for (int p = lane; p < packs; p += kWarp) add_terms(weight_sums, p, Pack<V, kWidth>{}, true);
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
        const auto w = subln.template pack<kWidth>(p);
        for (int k = 0; k < kWidth; ++k) {
          const V difference = widen(a.value[k]) - l * widen(b.value[k]);
          dot += w.value[k] * widen(g.value[k]) * difference;
        }
      }
      dot = s.scale * warp_sum(dot) * r * r * r / static_cast<V>(s.n);
      V delta_part = 0;
      for (int p = lane; p < packs; p += kWarp) {
        const P a = signal[p];
        const P b = heads[noise_head + p];
        const P g = dout[p];
        const auto w = subln.template pack<kWidth>(p);
        P result;
        Pack<V, kWidth> of_weight;
        Pack<V, kWidth> of_noise;
        for (int k = 0; k < kWidth; ++k) {
          const V noise = widen(b.value[k]);
          const V difference = widen(a.value[k]) - l * noise;
          const V dout_j = s.scale * widen(g.value[k]);
          const V gradient = r * w.value[k] * dout_j - difference * dot;
          result.value[k] = static_cast<T>(gradient);
          delta_part += widen(result.value[k]) * widen(a.value[k]);
          of_weight.value[k] = dout_j * difference * r;
          of_noise.value[k] = gradient;
          dlambda -= static_cast<double>(gradient) * static_cast<double>(noise);
        }
        gradients[static_cast<std::int64_t>(head) * packs + p] = result;
        add_terms(weight_sums, p, of_weight, false);
        add_terms(noise_sums, p, of_noise, head == 0);
      }
      store_delta(stripe, head, delta_part);
    }
    store_delta(stripe, s.ratio,
                store_noise<T, kWidth>(noise_sums, l, heads + noise_head, gradients + noise_head));
  }
  dlambda = warp_sum(dlambda);
  if (lane == 0) dlambdas[warp] = dlambda;
  __syncthreads();
  if (threadIdx.x == 0) {
    double sum = 0;
    for (int w = 0; w < kWarps; ++w) sum += dlambdas[w];
    dlambda_partial[blockIdx.x] = sum;
  }
  for (int j = static_cast<int>(threadIdx.x); dsubln_partial != nullptr && j < s.n; j += kThreads) {
    V sum = 0;
    for (int w = 0; w < kWarps; ++w) sum += Sums{memory, w * 2 * s.n, packs}.column(j);
    dsubln_partial[static_cast<std::int64_t>(blockIdx.x) * s.n + j] = sum;
  }
}

}  // namespace

void differential_forward(const Context& context, const ops::DifferentialForward& a) {
  const DifferentialShape& shape = a.shape;
  const std::int64_t stripes = a.attended.dim(0) * shape.noise_heads;
  if (stripes == 0) return;
  const std::int64_t n = shape.value_dim;
  ops::with_compute_type(a.attended.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    with_pack_width<T>(in_packs(n, a.attended, a.y), [&](auto width) {
      launch(context, "differential_forward", forward_stripes<T, decltype(width)::value>,
             {.blocks = {blocks_for(stripes, kWarps), 1, 1}, .threads = kThreads},
             a.attended.data<T>(), a.lambda.data<V>(), vector_of<V>(a.subln), stripe_of<V>(shape),
             stripes, a.y.data<T>(), a.rho.data<V>());
    });
  });
}

void differential_backward(const Context& context, const ops::DifferentialBackward& a) {
  const DifferentialShape& shape = a.shape;
  constexpr const char* kName = "differential_backward";
  const std::int64_t stripes = a.attended.dim(0) * shape.noise_heads;
  if (stripes == 0) return cuda::fill_zero(context, a.dlambda);
  const std::int64_t n = shape.value_dim;
  const unsigned blocks = std::min(blocks_for(stripes, kWarps), kBackwardBlocks);
  const ArenaScope scope(context.arena);
  ops::with_compute_type(a.attended.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    V* dsubln_partial = nullptr;
    if (a.dsubln) {
      dsubln_partial = context.arena.allocate(dtype_of<V>, {blocks, n}).template data<V>();
    }
    double* dlambda_partial = context.arena.allocate(DType::f64, {blocks}).data<double>();
    with_pack_width<T>(in_packs(n, a.attended, a.dy, a.dattended), [&](auto width) {
      launch(
          context, kName, backward_stripes<T, decltype(width)::value>,
          {.blocks = {blocks, 1, 1},
           .threads = kThreads,
           .shared_bytes = kWarps * (sizeof(V) * 2 * static_cast<std::size_t>(n) + sizeof(double))},
          a.attended.data<T>(), a.lambda.data<V>(), vector_of<V>(a.subln), a.rho.data<V>(),
          a.dy.data<T>(), stripe_of<V>(shape), stripes, a.dattended.data<T>(),
          a.delta ? a.delta.data<V>() : nullptr, dsubln_partial, dlambda_partial);
    });
    if (a.dsubln) {
      add_partials(context, kName, static_cast<const V*>(dsubln_partial), blocks, n, V(1), true,
                   a.dsubln.data<V>());
    }
    add_partials(context, kName, static_cast<const double*>(dlambda_partial), blocks, 1, 1.0, false,
                 a.dlambda.data<V>());
  });
}

}  // namespace gda::cuda
