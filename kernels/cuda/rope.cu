#include "numbers.cuh"
#include "ops/rope_kernels.h"

namespace gda::cuda {
namespace {

constexpr unsigned kThreads = 256;

// A block takes a token: pairs (j, j + half) of all of its heads. The table has cosines, then
// sines. A position outside the table cannot be refused here: its row becomes NaN.
template <class T>
__global__ void __launch_bounds__(kThreads)
    rotate_rows(Rows<T> x, const std::int32_t* position, const accumulate_t<T>* table,
                std::int64_t positions, int half, int pairs, accumulate_t<T> sign) {
  using V = accumulate_t<T>;
  const std::int64_t row = blockIdx.x;
  const std::int32_t at_position = position[row];
  const bool known = at_position >= 0 && at_position < positions;
  const V* cosine = table + (known ? at_position : 0) * static_cast<std::int64_t>(half);
  const V* sine = cosine + positions * half;
  for (int pair = static_cast<int>(threadIdx.x); pair < pairs; pair += kThreads) {
    const int j = pair % half;
    T* at = x[row] + pair / half * 2 * half + j;
    const V a = widen(at[0]);
    const V b = widen(at[half]);
    const V unit = known ? V(1) : static_cast<V>(NAN);
    at[0] = static_cast<T>(unit * (a * cosine[j] - sign * b * sine[j]));
    at[half] = static_cast<T>(unit * (b * cosine[j] + sign * a * sine[j]));
  }
}

void rotate(const Context& context, const char* name, const Tensor& x, const Tensor& position,
            const Tensor& table, double sign) {
  if (x.dim(0) == 0) return;
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    using V = accumulate_t<T>;
    launch(context, name, rotate_rows<T>,
           {.blocks = {static_cast<unsigned>(x.dim(0)), 1, 1}, .threads = kThreads}, rows_of<T>(x),
           position.data<std::int32_t>(), table.data<V>(), table.dim(1),
           static_cast<int>(table.dim(2)), static_cast<int>(x.dim(1) / 2), static_cast<V>(sign));
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
