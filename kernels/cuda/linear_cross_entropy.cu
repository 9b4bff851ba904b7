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

// Calls f(index of the logit, logit) for this thread's logits behind the packs: one or none.
template <class T, class F>
__device__ void for_the_rest(T* row, std::int64_t vocabulary, const F& f) {
  const std::int64_t last = vocabulary / kPackWidth<T> * kPackWidth<T> + threadIdx.x;
  if (last < vocabulary) f(last, row[last]);
}

// A target outside the vocabulary cannot be refused here: its logit, and so its loss, is NaN.
template <class T>
__global__ void __launch_bounds__(kThreads)
    rows_of_statistics(Rows<T> logits, std::int64_t vocabulary, const std::int32_t* target,
                       accumulate_t<T>* maximum, double* sum, accumulate_t<T>* chosen) {
  using V = accumulate_t<T>;
  using P = Pack<T, kPackWidth<T>>;
  const Shared<V> scratch = shared_memory<V>(0, kScratch);
  const Shared<double> sums = shared_memory<double>(kScratch * sizeof(V), kScratch);
  const std::int64_t row = blockIdx.x;
  const std::int32_t id = target[row];
  if (id == kIgnoreTarget) return;  // the whole block
  T* x = logits[row];
  SoftmaxSum<V> seen;
  for_each_pack(reinterpret_cast<P*>(x), vocabulary / kPackWidth<T>,
                [&](std::int64_t, const P& pack) { seen.add(pack); });
  for_the_rest(x, vocabulary, [&](std::int64_t, T logit) { seen.add(Pack<T, 1>{{logit}}); });
  seen.shrink_to(block_max(seen.largest, scratch));
  const double total = block_sum(seen.sum, sums);
  if (threadIdx.x != 0) return;
  maximum[row] = seen.largest;
  sum[row] = total;
  chosen[row] = id >= 0 && id < vocabulary ? widen(x[id]) : static_cast<V>(NAN);
}

__global__ void __launch_bounds__(kThreads)
    local_targets_of_rows(std::int64_t rows, const std::int32_t* target, std::int64_t first,
                          std::int64_t count, std::int64_t total, std::int32_t* local) {
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (n >= rows) return;
  const std::int32_t id = target[n];
  if (id == kIgnoreTarget) {
    local[n] = id;
  } else if (id >= first && id < first + count) {
    local[n] = static_cast<std::int32_t>(id - first);
  } else {
    local[n] = id >= 0 && id < total ? ops::kElsewhere : ops::kNowhere;
  }
}

template <class V>
__global__ void __launch_bounds__(kThreads)
    messages_of_rows(std::int64_t rows, const std::int32_t* target, const V* maximum,
                     const V* local_maximum, const double* sum, const V* chosen, double* message) {
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (n >= rows) return;
  const std::int32_t id = target[n];
  const bool counts = id != kIgnoreTarget;
  const double below = static_cast<double>(local_maximum[n]) - static_cast<double>(maximum[n]);
  message[n] = counts ? sum[n] * std::exp(below) : 0.0;
  message[rows + n] = counts && id != ops::kElsewhere ? static_cast<double>(chosen[n]) : 0.0;
}

template <class V>
__global__ void __launch_bounds__(kThreads)
    losses_of_rows(std::int64_t rows, const std::int32_t* target, const V* maximum,
                   const double* sum, const V* chosen, V* loss) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= rows) return;
  loss[row] = target[row] == kIgnoreTarget
                  ? V(0)
                  : static_cast<V>(std::log(sum[row]) + (static_cast<double>(maximum[row]) -
                                                         static_cast<double>(chosen[row])));
}

// Logits become the gradient of L = scale * sum of losses.
template <class T>
__global__ void __launch_bounds__(kThreads)
    rows_of_gradients(Rows<T> logits, std::int64_t vocabulary, const std::int32_t* target,
                      double scale, const accumulate_t<T>* maximum, const double* sum,
                      const accumulate_t<T>* chosen) {
  using V = accumulate_t<T>;
  using P = Pack<T, kPackWidth<T>>;
  const std::int64_t row = blockIdx.x;
  T* x = logits[row];
  const std::int32_t id = target[row];
  if (id == kIgnoreTarget) {  // the whole block
    zero_row(x, vocabulary);
    return;
  }
  const V largest = maximum[row];
  const V factor = static_cast<V>(scale / sum[row]);
  const auto gradient = [&](V logit) { return std::exp(logit - largest) * factor; };
  auto* in_packs = reinterpret_cast<P*>(x);
  for_each_pack(in_packs, vocabulary / kPackWidth<T>, [&](std::int64_t p, const P& pack) {
    P result;
    for (int k = 0; k < kPackWidth<T>; ++k) {
      result.value[k] = static_cast<T>(gradient(widen(pack.value[k])));
    }
    in_packs[p] = result;
  });
  for_the_rest(x, vocabulary,
               [&](std::int64_t i, T logit) { x[i] = static_cast<T>(gradient(widen(logit))); });
  __syncthreads();
  if (id >= 0 && id < vocabulary && threadIdx.x == 0) {
    x[id] = static_cast<T>(gradient(chosen[row]) - static_cast<V>(scale));
  }
}

template <class T>
unsigned threads_of_row(const Tensor& logits) {
  return threads_for(logits.dim(1) / kPackWidth<T>, kThreads);
}

}  // namespace

void softmax_statistics(const Context& context, const ops::SoftmaxStatistics& a) {
  ops::with_compute_type(a.logits.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    launch(context, "softmax_statistics", rows_of_statistics<T>,
           {.blocks = {static_cast<unsigned>(a.logits.dim(0)), 1, 1},
            .threads = threads_of_row<T>(a.logits),
            .shared_bytes = kScratch * (sizeof(V) + sizeof(double))},
           rows_of<T>(a.logits), a.logits.dim(1), a.target.data<std::int32_t>(),
           a.rows.maximum.data<V>(), a.rows.sum.data<double>(), a.rows.chosen.data<V>());
  });
}

void local_targets(const Context& context, const ops::LocalTargets& a) {
  launch(context, "local_targets", local_targets_of_rows,
         {.blocks = {blocks_for(a.target.dim(0), kThreads), 1, 1}, .threads = kThreads},
         a.target.dim(0), a.target.data<std::int32_t>(), a.part.first, a.rows, a.part.total,
         a.local.data<std::int32_t>());
}

void statistics_message(const Context& context, const ops::StatisticsMessage& a) {
  ops::with_compute_type(a.rows.maximum.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    launch(context, "statistics_message", messages_of_rows<V>,
           {.blocks = {blocks_for(a.target.dim(0), kThreads), 1, 1}, .threads = kThreads},
           a.target.dim(0), a.target.data<std::int32_t>(), a.rows.maximum.data<V>(),
           a.rows.local_maximum.data<V>(), a.rows.sum.data<double>(), a.rows.chosen.data<V>(),
           a.message.data<double>());
  });
}

void cross_entropy_loss(const Context& context, const ops::CrossEntropyLoss& a) {
  ops::with_compute_type(a.loss.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    launch(context, "cross_entropy_loss", losses_of_rows<V>,
           {.blocks = {blocks_for(a.loss.dim(0), kThreads), 1, 1}, .threads = kThreads},
           a.loss.dim(0), a.target.data<std::int32_t>(), a.rows.maximum.data<V>(),
           a.rows.sum.data<double>(), a.rows.chosen.data<V>(), a.loss.data<V>());
  });
}

void cross_entropy_gradient(const Context& context, const ops::CrossEntropyGradient& a) {
  ops::with_compute_type(a.logits.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    launch(context, "cross_entropy_gradient", rows_of_gradients<T>,
           {.blocks = {static_cast<unsigned>(a.logits.dim(0)), 1, 1},
            .threads = threads_of_row<T>(a.logits)},
           rows_of<T>(a.logits), a.logits.dim(1), a.target.data<std::int32_t>(), a.scale,
           a.rows.maximum.data<V>(), a.rows.sum.data<double>(), a.rows.chosen.data<V>());
  });
}

}  // namespace gda::cuda
