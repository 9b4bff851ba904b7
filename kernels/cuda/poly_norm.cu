#include "column_sums.cuh"
#include "mask.cuh"
#include "ops/gated_activation_kernels.h"

namespace gda::cuda {
namespace {

// A block takes a row of F units.
constexpr unsigned kThreads = 512;
constexpr int kScratch = kThreads / kWarp;
constexpr int kParameters = 4;  // three weights and the bias

// w0 n(x^3) + w1 n(x^2) + w2 n(x) + b with the factors of a row put together.
template <class V>
struct Polynomial {
  V cubic, square, linear, bias;
  __device__ V operator()(V x) const { return ((cubic * x + square) * x + linear) * x + bias; }
};

// r_k = (sum_j c_j x_j^2k / S + eps)^(-1/2), k = 1, 2, 3.
template <class V>
struct Norms {
  V r1, r2, r3;
};

// sum_j c_j x_j^2k, k = 1, 2, 3, or a thread's terms of it.
template <class V>
struct PowerSums {
  V s2, s4, s6;
};

// Where the sums over all units come from: a row that has them all, or the places that have put
// theirs together.
template <class V, bool kCut>
struct UnitSums {
  const V* sums = nullptr;  // [rows, 3] of c x^2k, or [rows, 6] with those of g x^k behind them
  int width = 0;

  __device__ const V* operator[](std::int64_t row) const { return sums + row * width; }
  static constexpr bool cut = kCut;
};

template <class V, class F>
void with_sums(const Tensor& sums, F&& f) {
  if (sums) {
    f(UnitSums<V, true>{sums.data<V>(), static_cast<int>(sums.dim(1))});
  } else {
    f(UnitSums<V, false>{});
  }
}

template <class T, int kWidth, class Mask>
__device__ PowerSums<accumulate_t<T>> power_sums_of(const Pack<T, kWidth>* x, std::int64_t packs,
                                                    const Mask& mask) {
  using V = accumulate_t<T>;
  V s2 = 0;
  V s4 = 0;
  V s6 = 0;
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    const Pack<T, kWidth> pack = x[p];
    for (int k = 0; k < kWidth; ++k) {
      const V value = widen(pack.value[k]);
      const V power = value * value;
      const V c = mask[p * kWidth + k];
      s2 += c * power;
      s4 += c * power * power;
      s6 += c * power * power * power;
    }
  }
  return {s2, s4, s6};
}

template <class T, int kWidth, class Mask>
__device__ Norms<accumulate_t<T>> norms_of(const Pack<T, kWidth>* x, std::int64_t packs,
                                           const Mask& mask, accumulate_t<T> eps,
                                           Shared<accumulate_t<T>> scratch) {
  using V = accumulate_t<T>;
  const PowerSums<V> s = power_sums_of<T, kWidth>(x, packs, mask);
  const auto norm = [&](V sum) { return 1 / std::sqrt(block_sum(sum, scratch) / mask.sum + eps); };
  const V r1 = norm(s.s2);
  const V r2 = norm(s.s4);
  return {r1, r2, norm(s.s6)};
}

template <class V, class Mask>
__device__ Norms<V> norms_from(const V* sums, const Mask& mask, V eps) {
  const auto norm = [&](V sum) { return 1 / std::sqrt(sum / mask.sum + eps); };
  return {norm(sums[0]), norm(sums[1]), norm(sums[2])};
}

template <class V>
__device__ Polynomial<V> polynomial(const V* weight, const V* bias, const Norms<V>& norms) {
  return {weight[0] * norms.r3, weight[1] * norms.r2, weight[2] * norms.r1, bias[0]};
}

template <class T, int kWidth, class Mask, class Sums>
__global__ void __launch_bounds__(kThreads)
    forward_rows(Rows<T> gate, Rows<T> up, const accumulate_t<T>* weight,
                 const accumulate_t<T>* bias, std::int64_t packs, Mask mask, accumulate_t<T> eps,
                 Sums all, Rows<T> out) {
  using V = accumulate_t<T>;
  using P = Pack<T, kWidth>;
  const Shared<V> scratch = shared_memory<V>(0, kScratch);
  const std::int64_t row = blockIdx.x;
  const auto* x = reinterpret_cast<const P*>(gate[row]);
  const auto norms = [&] {
    if constexpr (Sums::cut) return norms_from(all[row], mask, eps);
    return norms_of<T, kWidth>(x, packs, mask, eps, scratch);
  };
  const Polynomial<V> activation = polynomial(weight, bias, norms());
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    const P pack = x[p];
    const P u = reinterpret_cast<const P*>(up[row])[p];
    P result;
    for (int k = 0; k < kWidth; ++k) {
      result.value[k] = static_cast<T>(mask[p * kWidth + k] * activation(widen(pack.value[k])) *
                                       widen(u.value[k]));
    }
    reinterpret_cast<P*>(out[row])[p] = result;
  }
}

// sum_j g_j x_j^k, k = 0 to 3, with g_j = c_j up_j dout_j.
template <class V>
struct Moments {
  V t0, t1, t2, t3;
};

template <class T, int kWidth, class Mask>
__device__ Moments<accumulate_t<T>> moments_of(const Pack<T, kWidth>* x, const Pack<T, kWidth>* u,
                                               const Pack<T, kWidth>* dout, std::int64_t packs,
                                               const Mask& mask, Shared<accumulate_t<T>> scratch) {
  using V = accumulate_t<T>;
  Moments<V> sum{};
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    const Pack<T, kWidth> xs = x[p];
    const Pack<T, kWidth> us = u[p];
    const Pack<T, kWidth> ds = dout[p];
    for (int k = 0; k < kWidth; ++k) {
      const V value = widen(xs.value[k]);
      const V g = mask[p * kWidth + k] * widen(us.value[k]) * widen(ds.value[k]);
      sum.t0 += g;
      sum.t1 += g * value;
      sum.t2 += g * value * value;
      sum.t3 += g * value * value * value;
    }
  }
  const V t0 = block_sum(sum.t0, scratch);
  const V t1 = block_sum(sum.t1, scratch);
  const V t2 = block_sum(sum.t2, scratch);
  return {t0, t1, t2, block_sum(sum.t3, scratch)};
}

// A row's sums over the units that are here, three of x or six: sums [rows, 3 or 6].
template <class T, int kWidth, class Mask>
__global__ void __launch_bounds__(kThreads)
    sums_of_rows(Rows<T> gate, Rows<T> up, Rows<T> dout, std::int64_t packs, Mask mask,
                 accumulate_t<T>* sums, int width) {
  using V = accumulate_t<T>;
  using P = Pack<T, kWidth>;
  const Shared<V> scratch = shared_memory<V>(0, kScratch);
  const std::int64_t row = blockIdx.x;
  V* to = sums + row * width;
  const auto* x = reinterpret_cast<const P*>(gate[row]);
  const PowerSums<V> s = power_sums_of<T, kWidth>(x, packs, mask);
  const V s2 = block_sum(s.s2, scratch);
  const V s4 = block_sum(s.s4, scratch);
  const V s6 = block_sum(s.s6, scratch);
  if (threadIdx.x == 0) {
    to[0] = s2;
    to[1] = s4;
    to[2] = s6;
  }
  if (dout.data == nullptr) return;
  const Moments<V> t =
      moments_of<T, kWidth>(x, reinterpret_cast<const P*>(up[row]),
                            reinterpret_cast<const P*>(dout[row]), packs, mask, scratch);
  if (threadIdx.x == 0) {
    to[3] = t.t1;
    to[4] = t.t2;
    to[5] = t.t3;
  }
}

// Each block takes every gridDim.x-th row, and leaves its sums of dweight and dbias in `partial`.
template <class T, int kWidth, class Mask, class Sums>
__global__ void __launch_bounds__(kThreads)
    backward_rows(Rows<T> gate, Rows<T> up, const accumulate_t<T>* weight,
                  const accumulate_t<T>* bias, Rows<T> dout, std::int64_t rows, std::int64_t packs,
                  Mask mask, accumulate_t<T> eps, Sums all, Rows<T> dgate, Rows<T> dup,
                  accumulate_t<T>* partial) {
  using V = accumulate_t<T>;
  using P = Pack<T, kWidth>;
  const Shared<V> scratch = shared_memory<V>(0, kScratch);
  V sums[kParameters] = {};
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const auto* x = reinterpret_cast<const P*>(gate[row]);
    const auto* u = reinterpret_cast<const P*>(up[row]);
    const auto* d = reinterpret_cast<const P*>(dout[row]);
    const auto norms = [&] {
      if constexpr (Sums::cut) return norms_from(all[row], mask, eps);
      return norms_of<T, kWidth>(x, packs, mask, eps, scratch);
    };
    const Norms<V> r = norms();
    Moments<V> t = moments_of<T, kWidth>(x, u, d, packs, mask, scratch);
    const Polynomial<V> activation = polynomial(weight, bias, r);
    sums[0] += t.t3 * r.r3;
    sums[1] += t.t2 * r.r2;
    sums[2] += t.t1 * r.r1;
    sums[3] += t.t0;
    if constexpr (Sums::cut) t = {t.t0, all[row][3], all[row][4], all[row][5]};
    // What the means contribute: c (a x^5 + b x^3 + e x). The product r t / S is of the size of the
    // gradient, and comes first: r^3 alone would leave the range of f32.
    const V a = -3 * weight[0] * (r.r3 * t.t3 / mask.sum) * r.r3 * r.r3;
    const V b = -2 * weight[1] * (r.r2 * t.t2 / mask.sum) * r.r2 * r.r2;
    const V e = -weight[2] * (r.r1 * t.t1 / mask.sum) * r.r1 * r.r1;
    for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
      const P xs = x[p];
      const P us = u[p];
      const P ds = d[p];
      P of_gate;
      P of_up;
      for (int k = 0; k < kWidth; ++k) {
        const V value = widen(xs.value[k]);
        const V c = mask[p * kWidth + k];
        const V gradient = c * widen(ds.value[k]);
        const V power = value * value;
        const V slope =
            3 * activation.cubic * power + 2 * activation.square * value + activation.linear;
        of_up.value[k] = static_cast<T>(gradient * activation(value));
        of_gate.value[k] = static_cast<T>(gradient * widen(us.value[k]) * slope +
                                          c * value * ((a * power + b) * power + e));
      }
      reinterpret_cast<P*>(dgate[row])[p] = of_gate;
      reinterpret_cast<P*>(dup[row])[p] = of_up;
    }
  }
  if (threadIdx.x == 0) {
    for (int k = 0; k < kParameters; ++k) partial[blockIdx.x * kParameters + k] = sums[k];
  }
}

// The units that means are over.
template <class Arguments>
std::int64_t all_units(const Arguments& a) {
  return a.sums ? a.total : a.gate.dim(1);
}

}  // namespace

void poly_norm_sums(const Context& context, const ops::PolyNormSums& a) {
  if (a.gate.elements() == 0) return;
  ops::with_compute_type(a.gate.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    with_pack_width<T>(in_packs(a.gate.dim(1), a.gate, a.up, a.dout), [&](auto width) {
      constexpr int kWidth = decltype(width)::value;
      with_mask<V>(a.mask, a.gate.dim(1), [&]<class Mask>(const Mask& columns) {
        launch(context, "poly_norm_sums", sums_of_rows<T, kWidth, Mask>,
               {.blocks = {static_cast<unsigned>(a.gate.dim(0)), 1, 1},
                .threads = threads_for(a.gate.dim(1) / kWidth, kThreads),
                .shared_bytes = sizeof(V) * kScratch},
               rows_of<T>(a.gate), rows_of<T>(a.up), rows_of<T>(a.dout), a.gate.dim(1) / kWidth,
               columns, a.sums.data<V>(), static_cast<int>(a.sums.dim(1)));
      });
    });
  });
}

void poly_norm_forward(const Context& context, const ops::PolyNormForward& a) {
  if (a.out.elements() == 0) return;
  ops::with_compute_type(a.gate.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    with_pack_width<T>(in_packs(a.gate.dim(1), a.gate, a.up, a.out), [&](auto width) {
      constexpr int kWidth = decltype(width)::value;
      with_mask<V>(a.mask, all_units(a), [&]<class Mask>(const Mask& columns) {
        with_sums<V>(a.sums, [&]<class Sums>(const Sums& sums) {
          launch(context, "poly_norm_forward", forward_rows<T, kWidth, Mask, Sums>,
                 {.blocks = {static_cast<unsigned>(a.gate.dim(0)), 1, 1},
                  .threads = threads_for(a.gate.dim(1) / kWidth, kThreads),
                  .shared_bytes = sizeof(V) * kScratch},
                 rows_of<T>(a.gate), rows_of<T>(a.up), a.weight.data<V>(), a.bias.data<V>(),
                 a.gate.dim(1) / kWidth, columns, static_cast<V>(a.eps), sums, rows_of<T>(a.out));
        });
      });
    });
  });
}

void poly_norm_backward(const Context& context, const ops::PolyNormBackward& a) {
  if (a.dout.elements() == 0) return;
  constexpr const char* kName = "poly_norm_backward";
  const unsigned blocks = row_blocks(a.gate.dim(0));
  const ArenaScope scope(context.arena);
  ops::with_compute_type(a.gate.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    V* partial = context.arena.allocate(dtype_of<V>, {blocks, kParameters}).template data<V>();
    with_pack_width<T>(
        in_packs(a.gate.dim(1), a.gate, a.up, a.dout, a.dgate, a.dup), [&](auto width) {
          constexpr int kWidth = decltype(width)::value;
          with_mask<V>(a.mask, all_units(a), [&]<class Mask>(const Mask& columns) {
            with_sums<V>(a.sums, [&]<class Sums>(const Sums& all) {
              launch(context, kName, backward_rows<T, kWidth, Mask, Sums>,
                     {.blocks = {blocks, 1, 1},
                      .threads = threads_for(a.gate.dim(1) / kWidth, kThreads),
                      .shared_bytes = sizeof(V) * kScratch},
                     rows_of<T>(a.gate), rows_of<T>(a.up), a.weight.data<V>(), a.bias.data<V>(),
                     rows_of<T>(a.dout), a.gate.dim(0), a.gate.dim(1) / kWidth, columns,
                     static_cast<V>(a.eps), all, rows_of<T>(a.dgate), rows_of<T>(a.dup), partial);
            });
          });
        });
    V* sums = context.arena.allocate(dtype_of<V>, {kParameters}).template data<V>();
    add_partials(context, kName, static_cast<const V*>(partial), blocks, kParameters, V(1), false,
                 sums);
    const auto finish = [&](const V* from, const Tensor& gradient) {
      if (!gradient) return;
      add_partials(context, kName, from, 1, gradient.elements(), V(1), true, gradient.data<V>());
    };
    finish(sums, a.dweight);
    finish(sums + 3, a.dbias);
  });
}

}  // namespace gda::cuda
