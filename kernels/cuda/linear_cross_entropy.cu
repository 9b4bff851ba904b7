#include "numbers.cuh"
#include "ops/backend.h"
#include "ops/linear_cross_entropy_kernels.h"

namespace gda::cuda {
namespace {

// A block takes a row of logits, in packs of 16 bytes: rows begin on one, and what is left behind
// the last is taken one by one. A thread reads kBatch packs at once.
constexpr unsigned kThreads = 512;
constexpr int kScratch = kThreads / kWarp;
constexpr int kBatch = 4;

// The sum of exp(x - largest) over what was seen of a row. It shrinks when a larger logit comes,
// and is NaN for good after one that is not finite.
template <class V>
struct SoftmaxSum {
  V largest = -INFINITY;
  double sum = 0;

  template <class T, int kWidth>
  __device__ void add(const Pack<T, kWidth>& logits) {
    V most = largest;
    for (int k = 0; k < kWidth; ++k) {
      const V x = widen(logits.value[k]);
      most = x > most ? x : most;
    }
    V terms = 0;
    for (int k = 0; k < kWidth; ++k) {
      const V x = widen(logits.value[k]);
      terms += std::exp(x - most) + x * V(0);  // exp(-inf) alone would go unseen
    }
    shrink_to(most);
    sum += static_cast<double>(terms);
  }
  __device__ void shrink_to(V most) {
    sum *= static_cast<double>(std::exp(largest - most));
    largest = most;
  }
};

// Calls f(index of the pack, pack) for this thread's packs.
template <class P, class F>
__device__ void for_each_pack(P* row, std::int64_t packs, const F& f) {
  for (std::int64_t begin = threadIdx.x; begin < packs; begin += kBatch * blockDim.x) {
    P batch[kBatch];
    for (int i = 0; i < kBatch; ++i) {
      const std::int64_t p = begin + i * blockDim.x;
      if (p < packs) batch[i] = row[p];
    }
    for (int i = 0; i < kBatch; ++i) {
      const std::int64_t p = begin + i * blockDim.x;
      if (p < packs) f(p, batch[i]);
    }
  }
}

template <class T>
__device__ void zero_row(T* x, std::int64_t vocabulary) {
  for (std::int64_t i = threadIdx.x; i < vocabulary; i += blockDim.x) x[i] = static_cast<T>(0.0F);
}

// The loss of each row. With kGradient its logits become the gradient of L = scale * sum of losses.
// A target outside the vocabulary cannot be refused here: its loss is NaN.
template <class T, bool kGradient>
__global__ void __launch_bounds__(kThreads)
    rows_of_losses(Rows<T> logits, std::int64_t vocabulary, const std::int32_t* target,
                   double scale, accumulate_t<T>* loss) {
  using V = accumulate_t<T>;
  using P = Pack<T, kPackWidth<T>>;
  const Shared<V> scratch = shared_memory<V>(0, kScratch);
  const Shared<double> sums = shared_memory<double>(kScratch * sizeof(V), kScratch);
  const std::int64_t row = blockIdx.x;
  T* x = logits[row];
  auto* in_packs = reinterpret_cast<P*>(x);
  const std::int64_t packs = vocabulary / kPackWidth<T>;
  const std::int64_t last = packs * kPackWidth<T> + threadIdx.x;  // of those behind the packs
  const std::int32_t id = target[row];
  if (id == kIgnoreTarget) {  // the whole block
    if (threadIdx.x == 0) loss[row] = 0;
    if constexpr (kGradient) zero_row(x, vocabulary);
    return;
  }
  const bool known = id >= 0 && id < vocabulary;
  const V chosen = known ? widen(x[id]) : static_cast<V>(NAN);
  SoftmaxSum<V> seen;
  for_each_pack(in_packs, packs, [&](std::int64_t, const P& pack) { seen.add(pack); });
  if (last < vocabulary) seen.add(Pack<T, 1>{{x[last]}});
  seen.shrink_to(block_max(seen.largest, scratch));
  const double sum = block_sum(seen.sum, sums);
  if (threadIdx.x == 0) {
    loss[row] = static_cast<V>(std::log(sum) +
                               (static_cast<double>(seen.largest) - static_cast<double>(chosen)));
  }
  if constexpr (!kGradient) return;
  __syncthreads();  // all have read the target's logit
  const V factor = static_cast<V>(scale / sum);
  const auto gradient = [&](V logit) { return std::exp(logit - seen.largest) * factor; };
  for_each_pack(in_packs, packs, [&](std::int64_t p, const P& pack) {
    P result;
    for (int k = 0; k < kPackWidth<T>; ++k) {
      result.value[k] = static_cast<T>(gradient(widen(pack.value[k])));
    }
    in_packs[p] = result;
  });
  if (last < vocabulary) x[last] = static_cast<T>(gradient(widen(x[last])));
  __syncthreads();
  if (known && threadIdx.x == 0) {
    x[id] = static_cast<T>(gradient(chosen) - static_cast<V>(scale));
  }
}

template <class T, bool kGradient>
void losses_of(const Context& context, const char* name, const Tensor& logits, const Tensor& target,
               double scale, const Tensor& loss) {
  using V = accumulate_t<T>;
  launch(context, name, rows_of_losses<T, kGradient>,
         {.blocks = {static_cast<unsigned>(logits.dim(0)), 1, 1},
          .threads = threads_for(logits.dim(1) / kPackWidth<T>, kThreads),
          .shared_bytes = kScratch * (sizeof(V) + sizeof(double))},
         rows_of<T>(logits), logits.dim(1), target.data<std::int32_t>(), scale, loss.data<V>());
}

// Calls f(begin, count, logits) for chunks of rows of x. Rows of logits begin on 16 bytes.
template <class F>
void for_each_chunk(const Context& context, const Tensor& x, const Tensor& weight, DType dtype,
                    LinearCrossEntropyOptions options, const F& f) {
  const auto width = static_cast<std::int64_t>(16 / size_of(dtype));
  const std::int64_t vocabulary = weight.dim(0);
  const std::int64_t stride = (vocabulary + width - 1) / width * width;
  const std::int64_t rows = x.dim(0);
  const std::int64_t step = ops::chunk_rows(rows, stride, dtype, options);
  const ArenaScope scope(context.arena);
  const Tensor memory = context.arena.allocate(dtype, {step, stride}).columns(0, vocabulary);
  for (std::int64_t begin = 0; begin < rows; begin += step) {
    const std::int64_t count = std::min(step, rows - begin);
    const Tensor logits = memory.rows(0, count);
    cuda::matmul(context, x.rows(begin, count), weight, logits, {.transpose_b = true});
    f(begin, count, logits);
  }
}

}  // namespace

void linear_cross_entropy_forward(const Context& context, const Tensor& x, const Tensor& weight,
                                  const Tensor& target, const Tensor& loss,
                                  LinearCrossEntropyOptions options) {
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    for_each_chunk(context, x, weight, dtype_of<V>, options,
                   [&](std::int64_t begin, std::int64_t count, const Tensor& logits) {
                     losses_of<V, false>(context, "linear_cross_entropy_forward", logits,
                                         target.rows(begin, count), 0, loss.rows(begin, count));
                   });
  });
}

void linear_cross_entropy_forward_backward(const Context& context,
                                           const ops::LinearCrossEntropyForwardBackward& a) {
  ops::with_compute_type(a.x.dtype(), [&]<class T>(std::type_identity<T>) {
    for_each_chunk(context, a.x, a.weight, dtype_of<T>, a.options,
                   [&](std::int64_t begin, std::int64_t count, const Tensor& logits) {
                     losses_of<T, true>(context, "linear_cross_entropy_forward_backward", logits,
                                        a.target.rows(begin, count), a.scale,
                                        a.loss.rows(begin, count));
                     const Tensor& dlogits = logits;
                     cuda::matmul(context, dlogits, a.weight, a.dx.rows(begin, count), {});
                     if (!a.dweight) return;
                     cuda::matmul(context, dlogits, a.x.rows(begin, count), a.dweight,
                                  {.transpose_a = true, .accumulate = true});
                   });
  });
}

}  // namespace gda::cuda
