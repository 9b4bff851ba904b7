#include "numbers.cuh"
#include "ops/adamw_kernels.h"

namespace gda::cuda {
namespace {

constexpr unsigned kThreads = 256;

template <class V>
struct Factors {
  V gradient_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, eps, decay;
};

// What depends on an element's number of updates.
template <class V>
struct Correction {
  V root;       // 1 / sqrt(1 - beta2^t)
  V step_size;  // lr / (1 - beta1^t)
};

template <class V>
__host__ __device__ Correction<V> correction_of(double lr, double beta1, double beta2,
                                                std::int64_t count) {
  return {static_cast<V>(1 / std::sqrt(1 - power(beta2, count))),
          static_cast<V>(lr / (1 - power(beta1, count)))};
}

template <class V>
struct Arrays {
  const V* gradient;
  V* master;
  V* m;
  V* v;
};

template <class V>
__device__ V updated(const Factors<V>& f, const Correction<V>& c, const Arrays<V>& a,
                     std::int64_t i) {
  const V g = f.gradient_scale * a.gradient[i];
  const V m = f.beta1 * a.m[i] + f.one_minus_beta1 * g;
  const V v = f.beta2 * a.v[i] + f.one_minus_beta2 * g * g;
  const V parameter = a.master[i];
  const V next =
      parameter - (c.step_size * m / (std::sqrt(v) * c.root + f.eps) + f.decay * parameter);
  a.m[i] = m;
  a.v[i] = v;
  a.master[i] = next;
  return next;
}

// Copy: the compute type, or void where there is none.
template <class V, class Copy>
__device__ void store_copy(Copy* copy, std::int64_t i, V value) {
  if (copy != nullptr) copy[i] = static_cast<Copy>(value);
}

template <class V, class Copy>
__global__ void __launch_bounds__(kThreads)
    update(Factors<V> f, Correction<V> c, Arrays<V> a, Copy* copy, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  store_copy(copy, i, updated(f, c, a, i));
}

// Corrections of every coordinate of an axis.
template <class V>
__global__ void __launch_bounds__(kThreads)
    corrections(const std::int32_t* origin, std::int64_t n, double lr, double beta1, double beta2,
                std::int64_t step, Correction<V>* result) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n) result[i] = correction_of<V>(lr, beta1, beta2, step - origin[i]);
}

// Rows or columns that all began with the run have no table: `all` is theirs.
template <class V, class Copy>
__global__ void __launch_bounds__(kThreads)
    update_regions(Factors<V> f, Correction<V> all, const Correction<V>* rows,
                   const Correction<V>* columns, std::int64_t offset, std::int64_t width,
                   Arrays<V> a, Copy* copy, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  Correction<V> c = rows == nullptr ? all : rows[(offset + i) / width];
  if (columns != nullptr) {
    const Correction<V> column = columns[(offset + i) % width];
    c.root = column.root > c.root ? column.root : c.root;
    c.step_size = column.step_size > c.step_size ? column.step_size : c.step_size;
  }
  store_copy(copy, i, updated(f, c, a, i));
}

template <class V>
const Correction<V>* axis_corrections(const Context& context, const AdamWStep& step,
                                      const Tensor& origins) {
  if (origins.empty()) return nullptr;
  const std::int64_t n = origins.elements();
  static_assert(sizeof(Correction<V>) == 2 * sizeof(V));
  auto* result = reinterpret_cast<Correction<V>*>(
      context.arena.allocate(dtype_of<V>, {n, 2}).template data<V>());
  launch(context, "adamw_update", corrections<V>,
         {.blocks = {blocks_for(n, kThreads), 1, 1}, .threads = kThreads},
         origins.data<std::int32_t>(), n, step.lr, step.beta1, step.beta2, step.step, result);
  return result;
}

template <class V, class Copy>
void update_all(const Context& context, const AdamWStep& step, const Arrays<V>& arrays, Copy* copy,
                std::int64_t n, const AdamWOrigins& origins) {
  const Factors<V> factors{static_cast<V>(step.gradient_scale),
                           static_cast<V>(step.beta1),
                           static_cast<V>(1 - step.beta1),
                           static_cast<V>(step.beta2),
                           static_cast<V>(1 - step.beta2),
                           static_cast<V>(step.eps),
                           static_cast<V>(step.lr * step.weight_decay)};
  const Correction<V> all = correction_of<V>(step.lr, step.beta1, step.beta2, step.step);
  const Grid grid{.blocks = {blocks_for(n, kThreads), 1, 1}, .threads = kThreads};
  if (origins.empty()) {
    launch(context, "adamw_update", update<V, Copy>, grid, factors, all, arrays, copy, n);
    return;
  }
  const ArenaScope scope(context.arena);
  const Correction<V>* rows = axis_corrections<V>(context, step, origins.rows);
  const Correction<V>* columns = axis_corrections<V>(context, step, origins.columns);
  launch(context, "adamw_update", update_regions<V, Copy>, grid, factors, all, rows, columns,
         origins.offset, origins.row_length, arrays, copy, n);
}

}  // namespace

void adamw_update(const Context& context, const ops::AdamWUpdate& a) {
  const std::int64_t n = a.master.elements();
  if (n == 0) return;
  const auto run = [&]<class V>(std::type_identity<V>) {
    const Arrays<V> arrays{a.gradient.data<V>(), a.master.data<V>(), a.m.data<V>(), a.v.data<V>()};
    if (a.copy && a.copy.dtype() == DType::bf16) {
      update_all(context, a.step, arrays, a.copy.data<bfloat16>(), n, a.origins);
    } else {
      update_all(context, a.step, arrays, a.copy ? a.copy.data<V>() : nullptr, n, a.origins);
    }
  };
  if (a.master.dtype() == DType::f64) {
    run(std::type_identity<double>{});
  } else {
    run(std::type_identity<float>{});
  }
}

}  // namespace gda::cuda
