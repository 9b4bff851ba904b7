#include "attention_heads.cuh"
#include "attention_hopper.h"
#include "attention_plain.h"
#include "attention_tiled.h"

namespace gda::cuda {
namespace {

constexpr int kWarps = 4;
constexpr unsigned kMaxLogitThreads = 256;

// <dout, out> of each query and head; a warp takes one. Rows that do not begin on 16 bytes are read
// in another way and summed in the same order.
template <class T>
__global__ void __launch_bounds__(kWarps* kWarp)
    head_dots(Rows<T> a, Rows<T> b, bool in_packs, std::int64_t rows, int heads, int width,
              accumulate_t<T>* result) {
  constexpr int kWidth = kPackWidth<T>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t pair =
      static_cast<std::int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (pair >= rows * heads) return;  // a whole warp
  const std::int64_t row = pair / heads;
  const std::int64_t at = pair % heads * width;
  const Vector<T> x{a[row] + at, in_packs};
  const Vector<T> y{b[row] + at, in_packs};
  const int packs = width / kWidth;
  accumulate_t<T> sum = 0;
  for (int p = lane; p < packs; p += kWarp) {
    const auto of_x = x.template pack<kWidth>(p);
    const auto of_y = y.template pack<kWidth>(p);
    for (int k = 0; k < kWidth; ++k) sum += widen(of_x.value[k]) * widen(of_y.value[k]);
  }
  const int last = packs * kWidth + lane;
  if (last < width) sum += widen(x.data[last]) * widen(y.data[last]);
  sum = warp_sum(sum);
  if (lane == 0) result[pair] = sum;
}

// A block takes a head; a thread its rows threadIdx.x, threadIdx.x + blockDim.x, ...
template <class V>
__global__ void __launch_bounds__(kMaxLogitThreads)
    raise_max_logit(const V* row_max, const V* lse, std::int64_t rows, V* max_logit) {
  const std::int64_t heads = gridDim.x;
  V largest = -INFINITY;
  for (std::int64_t row = threadIdx.x; row < rows; row += blockDim.x) {
    const std::int64_t at = row * heads + blockIdx.x;
    // (a finite score is below +infinity, which stands for NaN until the end)
    const V value = std::isnan(lse[at]) ? V(INFINITY) : row_max[at];
    largest = value > largest ? value : largest;
  }
  largest = block_max(largest, shared_memory<V>(0, kMaxLogitThreads / kWarp));
  V& held = max_logit[blockIdx.x];
  if (threadIdx.x == 0 && largest > held) held = largest == V(INFINITY) ? V(NAN) : largest;
}

void dot_heads(const Context& context, const AttentionShape& shape, const Tensor& dout,
               const Tensor& out, const Tensor& delta) {
  ops::with_compute_type(out.dtype(), [&]<class T>(std::type_identity<T>) {
    launch(context, "attention_backward", head_dots<T>,
           {.blocks = {blocks_for(delta.elements(), kWarps), 1, 1}, .threads = kWarps * kWarp},
           rows_of<T>(dout), rows_of<T>(out), in_packs(shape.value_dim, dout, out), out.dim(0),
           static_cast<int>(shape.query_heads()), static_cast<int>(shape.value_dim),
           delta.data<accumulate_t<T>>());
  });
}

}  // namespace

void attention_forward(const Context& context, const ops::AttentionForward& a) {
  if (hopper::takes(context, a.shape, a.q, a.k, a.v, a.out)) {
    hopper::attention_forward(context, a);
  } else if (tiled::takes(a.shape, a.q, a.k, a.v, a.out)) {
    tiled::attention_forward(context, a);
  } else {
    plain::attention_forward(context, a);
  }
}

void attention_max_logit(const Context& context, const ops::AttentionMaxLogit& a) {
  const auto run = [&]<class V>(std::type_identity<V>) {
    launch(context, "attention_max_logit", raise_max_logit<V>,
           {.blocks = {static_cast<unsigned>(a.max_logit.elements()), 1, 1},
            .threads = kMaxLogitThreads,
            .shared_bytes = sizeof(V) * kMaxLogitThreads / kWarp},
           a.row_max.data<V>(), a.lse.data<V>(), a.lse.dim(0), a.max_logit.data<V>());
  };
  if (a.max_logit.dtype() == DType::f64) {
    run(std::type_identity<double>{});
  } else {
    run(std::type_identity<float>{});
  }
}

void attention_backward(const Context& context, const ops::AttentionBackward& given) {
  const ArenaScope scope(context.arena);
  ops::AttentionBackward a = given;
  if (!a.delta) {
    a.delta = context.arena.allocate(a.lse.dtype(), a.lse.shape());
    dot_heads(context, a.shape, a.dout, a.out, a.delta);
  }
  if (hopper::takes(context, a.shape, a.q, a.k, a.v, a.dout) &&
      hopper::takes(context, a.shape, a.dq, a.dk, a.dv, a.dout)) {
    hopper::attention_backward(context, a);
  } else if (tiled::takes_backward(a.shape, a.q, a.k, a.v, a.dout, a.dq, a.dk, a.dv)) {
    tiled::attention_backward(context, a);
  } else {
    plain::attention_backward(context, a);
  }
}

}  // namespace gda::cuda
