#include "attention_plain.h"

#include "attention_heads.cuh"

namespace gda::cuda::plain {
namespace {

// A block is a warp of neighbouring queries or keys; a thread's sums lie in shared memory.
constexpr unsigned kThreads = kWarp;

template <class T>
struct Problem {
  HeadMaps heads;
  Lengths length;
  int d, dv;
  accumulate_t<T> scale;
  Rows<const T> q, k, v;
  const std::int32_t* first_key;

  __device__ int first_key_of(std::int64_t row) const {
    return first_key == nullptr || first_key[row] < 0 ? 0 : first_key[row];
  }
  __device__ accumulate_t<T> score(std::int64_t query_row, std::int64_t key_row, int head) const {
    const T* a = q[query_row] + static_cast<std::int64_t>(head) * d;
    const T* b = k[key_row] + static_cast<std::int64_t>(heads.key[head]) * d;
    accumulate_t<T> sum = 0;
    for (int n = 0; n < d; ++n) sum += widen(a[n]) * widen(b[n]);
    return scale * sum;
  }
};

template <class T>
Rows<const T> constant_rows(const Tensor& tensor) {
  return {tensor.data<T>(), tensor.row_stride()};
}

template <class T>
Problem<T> problem_of(const AttentionShape& shape, const Tensor& q, const Tensor& k,
                      const Tensor& v, const Tensor& first_key) {
  return {head_maps(shape),
          lengths_of(shape),
          static_cast<int>(shape.head_dim),
          static_cast<int>(shape.value_dim),
          static_cast<accumulate_t<T>>(1 / std::sqrt(static_cast<double>(shape.head_dim))),
          constant_rows<T>(q),
          constant_rows<T>(k),
          constant_rows<T>(v),
          first_keys(first_key)};
}

// A thread's own part of shared memory, laid out so that a warp's threads do not meet in a bank.
template <class V>
struct ThreadArray {
  Shared<V> memory;
  __device__ V& operator[](int n) const {
    return memory[n * static_cast<int>(kThreads) + static_cast<int>(threadIdx.x)];
  }
};

template <class V>
__device__ ThreadArray<V> thread_array(int size) {
  return {shared_memory<V>(0, size * static_cast<int>(kThreads))};
}

template <class V>
std::size_t thread_array_bytes(int size) {
  return sizeof(V) * static_cast<std::size_t>(size) * kThreads;
}

// The query that a thread takes: its place in the sequence, its head, its row in q, and the row in
// k where its sequence begins.
struct QueryOfThread {
  int query, head;
  std::int64_t row, keys;
};

template <class T>
__device__ QueryOfThread query_of_thread(const Problem<T>& p) {
  const int query = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  const auto sequence = static_cast<std::int64_t>(blockIdx.z);
  return {query, static_cast<int>(blockIdx.y), sequence * p.length.queries + query,
          sequence * p.length.keys};
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    forward_queries(Problem<T> p, Rows<T> out, accumulate_t<T>* lse, accumulate_t<T>* row_max) {
  using V = accumulate_t<T>;
  const auto [query, head, row, keys] = query_of_thread(p);
  if (query >= p.length.queries) return;
  const ThreadArray<V> sums = thread_array<V>(p.dv);
  for (int n = 0; n < p.dv; ++n) sums[n] = 0;
  V largest = -INFINITY;
  V total = 0;
  const int first = p.first_key_of(row);
  for (int j = first; j <= query + p.length.offset; ++j) {
    const V score = p.score(row, keys + j, head);
    // (not: score > largest; a NaN is not larger, and must not be lost)
    const bool keeps = score <= largest;
    const V correction = keeps ? V(1) : std::exp(largest - score);
    largest = keeps ? largest : score;
    const V weight = std::exp(score - largest);
    total = total * correction + weight;
    const T* value = p.v[keys + j] + static_cast<std::int64_t>(p.heads.value[head]) * p.dv;
    for (int n = 0; n < p.dv; ++n) sums[n] = sums[n] * correction + weight * widen(value[n]);
  }
  T* to = out[row] + static_cast<std::int64_t>(head) * p.dv;
  for (int n = 0; n < p.dv; ++n) to[n] = static_cast<T>(sums[n] / total);
  lse[row * p.heads.count + head] = largest + std::log(total);
  if (row_max != nullptr) row_max[row * p.heads.count + head] = largest;
}

// What the backward pass has besides.
template <class T>
struct Gradients {
  Rows<const T> dout;
  const accumulate_t<T>* lse;
  const accumulate_t<T>* delta;
};

// weight, and dscore = scale weight (<dout, v> - delta).
template <class V>
struct Weight {
  V weight, dscore;
};

template <class T>
__device__ Weight<accumulate_t<T>> weight_of(const Problem<T>& p, const Gradients<T>& g,
                                             std::int64_t query_row, std::int64_t key_row,
                                             int head) {
  using V = accumulate_t<T>;
  const std::int64_t at = query_row * p.heads.count + head;
  const V weight = std::exp(p.score(query_row, key_row, head) - g.lse[at]);
  const T* a = g.dout[query_row] + static_cast<std::int64_t>(head) * p.dv;
  const T* b = p.v[key_row] + static_cast<std::int64_t>(p.heads.value[head]) * p.dv;
  V dweight = 0;
  for (int n = 0; n < p.dv; ++n) dweight += widen(a[n]) * widen(b[n]);
  return {weight, p.scale * weight * (dweight - g.delta[at])};
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    backward_queries(Problem<T> p, Gradients<T> g, Rows<T> dq) {
  using V = accumulate_t<T>;
  const auto [query, head, row, keys] = query_of_thread(p);
  if (query >= p.length.queries) return;
  const ThreadArray<V> sums = thread_array<V>(p.d);
  for (int n = 0; n < p.d; ++n) sums[n] = 0;
  const int first = p.first_key_of(row);
  for (int j = first; j <= query + p.length.offset; ++j) {
    const V dscore = weight_of(p, g, row, keys + j, head).dscore;
    const T* key = p.k[keys + j] + static_cast<std::int64_t>(p.heads.key[head]) * p.d;
    for (int n = 0; n < p.d; ++n) sums[n] += dscore * widen(key[n]);
  }
  T* to = dq[row] + static_cast<std::int64_t>(head) * p.d;
  for (int n = 0; n < p.d; ++n) to[n] = static_cast<T>(sums[n]);
}

// kKey: dk of key head blockIdx.y, summed over the query heads that read it; else dv of a value
// head.
template <class T, bool kKey>
__global__ void __launch_bounds__(kThreads)
    backward_keys(Problem<T> p, Gradients<T> g, Rows<T> gradient) {
  using V = accumulate_t<T>;
  const int key = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (key >= p.length.keys) return;
  const int mine = static_cast<int>(blockIdx.y);
  const int width = kKey ? p.d : p.dv;
  const std::int64_t key_row = static_cast<std::int64_t>(blockIdx.z) * p.length.keys + key;
  const std::int64_t queries = static_cast<std::int64_t>(blockIdx.z) * p.length.queries;
  const ThreadArray<V> sums = thread_array<V>(width);
  for (int n = 0; n < width; ++n) sums[n] = 0;
  const int first_query = key > p.length.offset ? key - p.length.offset : 0;
  for (int head = 0; head < p.heads.count; ++head) {
    if ((kKey ? p.heads.key[head] : p.heads.value[head]) != mine) continue;
    for (int i = first_query; i < p.length.queries; ++i) {
      const std::int64_t row = queries + i;
      if (p.first_key_of(row) > key) continue;
      const Weight<V> w = weight_of(p, g, row, key_row, head);
      const T* from = kKey ? p.q[row] + static_cast<std::int64_t>(head) * p.d
                           : g.dout[row] + static_cast<std::int64_t>(head) * p.dv;
      const V factor = kKey ? w.dscore : w.weight;
      for (int n = 0; n < width; ++n) sums[n] += factor * widen(from[n]);
    }
  }
  T* to = gradient[key_row] + static_cast<std::int64_t>(mine) * width;
  for (int n = 0; n < width; ++n) to[n] = static_cast<T>(sums[n]);
}

Grid grid_of(std::int64_t length, std::int64_t heads, std::int64_t batch, std::size_t shared) {
  return {.blocks = {blocks_for(length, kThreads), static_cast<unsigned>(heads),
                     static_cast<unsigned>(batch)},
          .threads = kThreads,
          .shared_bytes = shared};
}

}  // namespace

void attention_forward(const Context& context, const ops::AttentionForward& a) {
  const AttentionShape& shape = a.shape;
  ops::with_compute_type(a.q.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    const Problem<T> p = problem_of<T>(shape, a.q, a.k, a.v, a.first_key);
    launch(
        context, "attention_forward", forward_queries<T>,
        grid_of(shape.query_length, shape.query_heads(), shape.batch, thread_array_bytes<V>(p.dv)),
        p, rows_of<T>(a.out), a.lse.data<V>(), a.row_max ? a.row_max.data<V>() : nullptr);
  });
}

void attention_backward(const Context& context, const ops::AttentionBackward& a) {
  constexpr const char* kName = "attention_backward";
  const AttentionShape& shape = a.shape;
  ops::with_compute_type(a.q.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    const Problem<T> p = problem_of<T>(shape, a.q, a.k, a.v, a.first_key);
    const Gradients<T> g{constant_rows<T>(a.dout), a.lse.data<V>(), a.delta.data<V>()};
    launch(
        context, kName, backward_queries<T>,
        grid_of(shape.query_length, shape.query_heads(), shape.batch, thread_array_bytes<V>(p.d)),
        p, g, rows_of<T>(a.dq));
    launch(context, kName, backward_keys<T, true>,
           grid_of(shape.key_length, shape.key_heads, shape.batch, thread_array_bytes<V>(p.d)), p,
           g, rows_of<T>(a.dk));
    launch(context, kName, backward_keys<T, false>,
           grid_of(shape.key_length, shape.value_heads, shape.batch, thread_array_bytes<V>(p.dv)),
           p, g, rows_of<T>(a.dv));
  });
}

}  // namespace gda::cuda::plain
