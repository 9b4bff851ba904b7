#include "numbers.cuh"
#include "ops/linear_cross_entropy_kernels.h"
#include "ops/matmul_kernels.h"

namespace gda::cuda {
namespace {

// A block takes a row of logits.
constexpr unsigned kThreads = 512;
constexpr int kScratch = kThreads / kWarp;

// The loss of each row. With gradients the logits become, in type G and within their own memory,
// those of L = scale * sum of losses: each thread writes what it has read, G is never wider, and a
// pass over the row ends before the next begins. A target outside the vocabulary cannot be refused
// here: its loss is NaN.
template <class V, class G, bool kGradient>
__global__ void __launch_bounds__(kThreads)
    rows_of_losses(V* logits, std::int64_t vocabulary, const std::int32_t* target, double scale,
                   V* loss) {
  const Shared<V> scratch = shared_memory<V>(0, kScratch);
  const Shared<double> sums = shared_memory<double>(kScratch * sizeof(V), kScratch);
  const std::int64_t row = blockIdx.x;
  V* x = logits + row * vocabulary;
  auto* gradient = reinterpret_cast<G*>(x);
  const std::int32_t id = target[row];
  if (id == kIgnoreTarget) {  // the whole block
    if (threadIdx.x == 0) loss[row] = 0;
    for (std::int64_t i = threadIdx.x; kGradient && i < vocabulary; i += blockDim.x) {
      gradient[i] = static_cast<G>(V(0));
    }
    return;
  }
  V largest = -INFINITY;
  V poison = 0;  // NaN if a logit is not finite
  for (std::int64_t i = threadIdx.x; i < vocabulary; i += blockDim.x) {
    largest = x[i] > largest ? x[i] : largest;
    poison += x[i] * V(0);
  }
  largest = block_max(largest, scratch);
  double sum = static_cast<double>(poison);
  for (std::int64_t i = threadIdx.x; i < vocabulary; i += blockDim.x) {
    sum += static_cast<double>(std::exp(x[i] - largest));
  }
  sum = block_sum(sum, sums);
  const bool known = id >= 0 && id < vocabulary;
  const double chosen = known ? static_cast<double>(x[id]) : static_cast<double>(NAN);
  if (threadIdx.x == 0) {
    loss[row] = static_cast<V>(std::log(sum) + (static_cast<double>(largest) - chosen));
  }
  if constexpr (!kGradient) return;
  const V factor = static_cast<V>(scale / sum);
  // Whole tiles are read before they are written: element i of type G lies below element i of V.
  for (std::int64_t begin = 0; begin < vocabulary; begin += blockDim.x) {
    const std::int64_t i = begin + threadIdx.x;
    V value = 0;
    if (i < vocabulary) value = std::exp(x[i] - largest) * factor;
    if (i == id) value -= static_cast<V>(scale);
    __syncthreads();
    if (i < vocabulary) gradient[i] = static_cast<G>(value);
    if constexpr (!std::is_same_v<V, G>) __syncthreads();
  }
}

template <class V, class G, bool kGradient>
void losses_of(const Context& context, const char* name, const Tensor& logits, const Tensor& target,
               double scale, const Tensor& loss) {
  launch(context, name, rows_of_losses<V, G, kGradient>,
         {.blocks = {static_cast<unsigned>(logits.dim(0)), 1, 1},
          .threads = threads_for(logits.dim(1), kThreads),
          .shared_bytes = kScratch * (sizeof(V) + sizeof(double))},
         logits.data<V>(), logits.dim(1), target.data<std::int32_t>(), scale, loss.data<V>());
}

// Calls f(begin, count, logits) for chunks of rows of x.
template <class F>
void for_each_chunk(const Context& context, const Tensor& x, const Tensor& weight,
                    LinearCrossEntropyOptions options, const F& f) {
  const DType dtype = accumulate_type(x.dtype());
  const std::int64_t vocabulary = weight.dim(0);
  const std::int64_t rows = x.dim(0);
  const std::int64_t step = ops::chunk_rows(rows, vocabulary, dtype, options);
  const ArenaScope scope(context.arena);
  const Tensor memory = context.arena.allocate(dtype, {step, vocabulary});
  for (std::int64_t begin = 0; begin < rows; begin += step) {
    const std::int64_t count = std::min(step, rows - begin);
    const Tensor logits = memory.rows(0, count);
    cuda::matmul(context, x.rows(begin, count), weight, logits, {.transpose_b = true});
    f(begin, count, logits);
  }
}

// The gradient with respect to a chunk's logits, in the compute type and in the logits' memory.
template <class T>
Tensor gradients_of(const Context& context, const Tensor& logits, const Tensor& target,
                    double scale, const Tensor& loss) {
  losses_of<accumulate_t<T>, T, true>(context, "linear_cross_entropy_forward_backward", logits,
                                      target, scale, loss);
  constexpr std::size_t kRatio = size_of(dtype_of<accumulate_t<T>>) / size_of(dtype_of<T>);
  return {logits.raw(), dtype_of<T>, logits.shape(),
          static_cast<std::int64_t>(kRatio) * logits.dim(1), logits.device()};
}

}  // namespace

void linear_cross_entropy_forward(const Context& context, const Tensor& x, const Tensor& weight,
                                  const Tensor& target, const Tensor& loss,
                                  LinearCrossEntropyOptions options) {
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    for_each_chunk(context, x, weight, options,
                   [&](std::int64_t begin, std::int64_t count, const Tensor& logits) {
                     losses_of<V, V, false>(context, "linear_cross_entropy_forward", logits,
                                            target.rows(begin, count), 0, loss.rows(begin, count));
                   });
  });
}

void linear_cross_entropy_forward_backward(const Context& context, const Tensor& x,
                                           const Tensor& weight, const Tensor& target, double scale,
                                           const Tensor& loss, const Tensor& dx,
                                           const Tensor& dweight,
                                           LinearCrossEntropyOptions options) {
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    for_each_chunk(context, x, weight, options,
                   [&](std::int64_t begin, std::int64_t count, const Tensor& logits) {
                     const Tensor dlogits =
                         gradients_of<T>(context, logits, target.rows(begin, count), scale,
                                         loss.rows(begin, count));
                     cuda::matmul(context, dlogits, weight, dx.rows(begin, count), {});
                     if (!dweight) return;
                     cuda::matmul(context, dlogits, x.rows(begin, count), dweight,
                                  {.transpose_a = true, .accumulate = true});
                   });
  });
}

}  // namespace gda::cuda
