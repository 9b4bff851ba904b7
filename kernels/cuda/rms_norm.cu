#include "column_sums.cuh"
#include "mask.cuh"
#include "ops/rms_norm_kernels.h"

namespace gda::cuda {
namespace {

// A block takes a row: a row of 4,096 bf16 is two packs a thread. Short rows take fewer threads.
constexpr unsigned kThreads = 256;
constexpr int kScratch = kThreads / kWarp;

// A thread keeps its first pack, the only one of rows up to 2,048 bf16, for the second pass over
// the row, which finds others in the first-level cache.
template <class T, int kWidth, class Mask>
__global__ void __launch_bounds__(kThreads)
    forward_rows(Rows<T> x, Vector<accumulate_t<T>> weight, accumulate_t<T> eps, std::int64_t packs,
                 Mask mask, Rows<T> y, accumulate_t<T>* rho) {
  using V = accumulate_t<T>;
  using P = Pack<T, kWidth>;
  const Shared<V> scratch = shared_memory<V>(0, kScratch);
  const std::int64_t row = blockIdx.x;
  const auto* in = reinterpret_cast<const P*>(x[row]);
  P first{};
  V sum = 0;
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    const P pack = in[p];
    if (p == threadIdx.x) first = pack;
    for (int k = 0; k < kWidth; ++k) {
      const V value = widen(pack.value[k]);
      sum += mask[p * kWidth + k] * value * value;
    }
  }
  const V r = 1 / std::sqrt(block_sum(sum, scratch) / mask.sum + eps);
  auto* out = reinterpret_cast<P*>(y[row]);
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    const P pack = p == threadIdx.x ? first : in[p];
    const auto w = weight.template pack<kWidth>(p);
    P result;
    for (int k = 0; k < kWidth; ++k) {
      result.value[k] =
          static_cast<T>(mask[p * kWidth + k] * w.value[k] * widen(pack.value[k]) * r);
    }
    out[p] = result;
  }
  if (threadIdx.x == 0) rho[row] = r;
}

// Sums of dweight in shared memory leave room for several blocks on a multiprocessor; longer rows
// have them in global memory.
constexpr std::size_t kMostSharedSums = std::size_t{64} << 10;

// Blocks of the backward pass on a multiprocessor: all row_blocks at once on one of 128.
constexpr int kResident = 4;

// A pack of what backward reads.
template <class P>
struct Inputs {
  P dy, x, residual;
};

template <class P, class T>
__device__ Inputs<P> inputs_at(const Rows<T>& dy, const Rows<T>& x, const Rows<T>& residual,
                               std::int64_t row, std::int64_t p) {
  Inputs<P> in{reinterpret_cast<const P*>(dy[row])[p], reinterpret_cast<const P*>(x[row])[p], {}};
  if (residual.data != nullptr) in.residual = reinterpret_cast<const P*>(residual[row])[p];
  return in;
}

// Each block takes every gridDim.x-th row, and leaves its sums of dweight in `partial`. As in the
// forward pass, a thread keeps its first packs.
template <class T, int kWidth, bool kSharedSums, class Mask>
__global__ void __launch_bounds__(kThreads, kResident)
    backward_rows(Rows<T> dy, Rows<T> x, Vector<accumulate_t<T>> weight, const accumulate_t<T>* rho,
                  Rows<T> residual, std::int64_t rows, std::int64_t packs, Mask mask, Rows<T> dx,
                  accumulate_t<T>* partial) {
  using V = accumulate_t<T>;
  using P = Pack<T, kWidth>;
  const Shared<V> scratch = shared_memory<V>(0, kScratch);
  const std::int64_t columns = packs * kWidth;
  V* block_sums = partial == nullptr ? nullptr : partial + blockIdx.x * columns;
  const auto sums = [&] {
    if constexpr (kSharedSums) {
      const int count = block_sums == nullptr ? 0 : static_cast<int>(columns);
      const Shared<V> memory = shared_memory<V>(kScratch * sizeof(V), count);
      return SharedSums<V, kWidth>{memory, 0, static_cast<int>(packs)};
    } else {
      return GlobalSums<V, kWidth>{block_sums};
    }
  }();
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const V r = rho[row];
    Inputs<P> first{};
    V dot = 0;
    for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
      const Inputs<P> in = inputs_at<P>(dy, x, residual, row, p);
      const auto w = weight.template pack<kWidth>(p);
      if (p == threadIdx.x) first = in;
      for (int k = 0; k < kWidth; ++k) {
        dot += mask[p * kWidth + k] * w.value[k] * widen(in.dy.value[k]) * widen(in.x.value[k]);
      }
    }
    dot = block_sum(dot, scratch) * r * r * r / mask.sum;
    for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
      const Inputs<P> in = p == threadIdx.x ? first : inputs_at<P>(dy, x, residual, row, p);
      const auto w = weight.template pack<kWidth>(p);
      P result;
      Pack<V, kWidth> terms;
      for (int k = 0; k < kWidth; ++k) {
        const V factor = mask[p * kWidth + k];
        const V dyj = widen(in.dy.value[k]);
        const V xj = widen(in.x.value[k]);
        // Fused by hand, so that masked and plain kernels round alike.
        const V own = std::fma(-xj, dot, r * w.value[k] * dyj);
        result.value[k] = static_cast<T>(widen(in.residual.value[k]) + factor * own);
        terms.value[k] = factor * dyj * xj * r;
      }
      reinterpret_cast<P*>(dx[row])[p] = result;
      if (block_sums != nullptr) add_terms(sums, p, terms, row == blockIdx.x);
    }
  }
  if constexpr (kSharedSums) {
    if (block_sums == nullptr) return;
    __syncthreads();
    for (std::int64_t j = threadIdx.x; j < columns; j += blockDim.x) {
      block_sums[j] = sums.column(static_cast<int>(j));
    }
  }
}

}  // namespace

void rms_norm_forward(const Context& context, const ops::RmsNormForward& a) {
  if (a.x.dim(0) == 0) return;
  ops::with_compute_type(a.x.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    with_pack_width<T>(in_packs(a.x.dim(1), a.x, a.y), [&](auto width) {
      constexpr int kWidth = decltype(width)::value;
      with_mask<V>(a.mask, a.x.dim(1), [&]<class Mask>(const Mask& columns) {
        launch(context, "rms_norm_forward", forward_rows<T, kWidth, Mask>,
               {.blocks = {static_cast<unsigned>(a.x.dim(0)), 1, 1},
                .threads = threads_for(a.x.dim(1) / kWidth, kThreads),
                .shared_bytes = sizeof(V) * kScratch},
               rows_of<T>(a.x), vector_of<V>(a.weight), static_cast<V>(a.eps), a.x.dim(1) / kWidth,
               columns, rows_of<T>(a.y), a.rho.data<V>());
      });
    });
  });
}

void rms_norm_backward(const Context& context, const ops::RmsNormBackward& a) {
  if (a.x.dim(0) == 0) return;
  constexpr const char* kName = "rms_norm_backward";
  const unsigned blocks = row_blocks(a.x.dim(0));
  const std::int64_t n = a.x.dim(1);
  const ArenaScope scope(context.arena);
  ops::with_compute_type(a.x.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    V* partial = nullptr;
    if (a.dweight) partial = context.arena.allocate(dtype_of<V>, {blocks, n}).template data<V>();
    const std::size_t sums_bytes = a.dweight ? sizeof(V) * static_cast<std::size_t>(n) : 0;
    const auto run = [&](auto width, auto in_shared, const auto& columns) {
      constexpr int kWidth = decltype(width)::value;
      launch(context, kName,
             backward_rows<T, kWidth, decltype(in_shared)::value,
                           std::remove_cvref_t<decltype(columns)>>,
             {.blocks = {blocks, 1, 1},
              .threads = threads_for(n / kWidth, kThreads),
              .shared_bytes = sizeof(V) * kScratch + (in_shared ? sums_bytes : 0)},
             rows_of<T>(a.dy), rows_of<T>(a.x), vector_of<V>(a.weight), a.rho.data<V>(),
             rows_of<T>(a.residual_gradient), a.x.dim(0), n / kWidth, columns, rows_of<T>(a.dx),
             partial);
    };
    with_pack_width<T>(in_packs(n, a.dy, a.x, a.residual_gradient, a.dx), [&](auto width) {
      with_mask<V>(a.mask, n, [&](const auto& columns) {
        if (sums_bytes <= kMostSharedSums) {
          run(width, std::true_type{}, columns);
        } else {
          run(width, std::false_type{}, columns);
        }
      });
    });
    if (a.dweight) {
      add_partials(context, kName, static_cast<const V*>(partial), blocks, n, V(1), true,
                   a.dweight.data<V>());
    }
  });
}

}  // namespace gda::cuda
