#include "numbers.cuh"
#include "ops/rope_kernels.h"

namespace gda::cuda {
namespace {

constexpr unsigned kThreads = 256;

// A block takes a token: pairs (j, j + half) of all of its heads, kWidth neighbours at once. The
// table has cosines, then sines. A position outside the table cannot be refused here: its row
// becomes NaN.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    rotate_rows(Rows<T> x, const std::int32_t* position, Vector<accumulate_t<T>> table,
                std::int64_t positions, int half, int packs, accumulate_t<T> sign) {
  using V = accumulate_t<T>;
  using P = Pack<T, kWidth>;
  const std::int64_t row = blockIdx.x;
  const std::int32_t at_position = position[row];
  const bool known = at_position >= 0 && at_position < positions;
  const V unit = known ? V(1) : static_cast<V>(NAN);
  const V* cosines = table.data + (known ? at_position : 0) * static_cast<std::int64_t>(half);
  const int packs_of_head = half / kWidth;
  for (int pack = static_cast<int>(threadIdx.x); pack < packs; pack += blockDim.x) {
    const int p = pack % packs_of_head;
    auto* first = reinterpret_cast<P*>(x[row] + pack / packs_of_head * 2 * half) + p;
    P* second = first + packs_of_head;
    const auto cosine = Vector<V>{cosines, table.in_parts}.template pack<kWidth>(p);
    const auto sine =
        Vector<V>{cosines + positions * half, table.in_parts}.template pack<kWidth>(p);
    P turned_first = *first;
    P turned_second = *second;
    for (int k = 0; k < kWidth; ++k) {
      const V a = widen(turned_first.value[k]);
      const V b = widen(turned_second.value[k]);
      turned_first.value[k] =
          static_cast<T>(unit * (a * cosine.value[k] - sign * b * sine.value[k]));
      turned_second.value[k] =
          static_cast<T>(unit * (b * cosine.value[k] + sign * a * sine.value[k]));
    }
    *first = turned_first;
    *second = turned_second;
  }
}

void rotate(const Context& context, const char* name, const Tensor& x, const Tensor& position,
            const Tensor& table, double sign) {
  if (x.dim(0) == 0) return;
  const std::int64_t half = table.dim(2);
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    with_pack_width<T>(in_packs(half, x), [&](auto width) {
      constexpr int kWidth = decltype(width)::value;
      const std::int64_t packs = x.dim(1) / 2 / kWidth;
      launch(context, name, rotate_rows<T, kWidth>,
             {.blocks = {static_cast<unsigned>(x.dim(0)), 1, 1},
              .threads = threads_for(packs, kThreads)},
             rows_of<T>(x), position.data<std::int32_t>(), vector_of<V>(table), table.dim(1),
             static_cast<int>(half), static_cast<int>(packs), static_cast<V>(sign));
    });
  });
}

}  // namespace

void rope_forward(const Context& context, const Tensor& x, const Tensor& position,
                  const Tensor& table) {
  rotate(context, "rope_forward", x, position, table, 1);
}

void rope_backward(const Context& context, const Tensor& dx, const Tensor& position,
                   const Tensor& table) {
  rotate(context, "rope_backward", dx, position, table, -1);
}

}  // namespace gda::cuda
