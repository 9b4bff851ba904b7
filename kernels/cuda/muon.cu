#include "numbers.cuh"
#include "ops/backend.h"

namespace gda::cuda {
namespace {

constexpr unsigned kThreads = 256;

// f(i) for every element.
template <class F>
__global__ void __launch_bounds__(kThreads) each_element(std::int64_t n, F f) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n) f(i);
}

template <class F>
void for_each_element(const Context& context, const char* name, std::int64_t n, F f) {
  launch(context, name, each_element<F>,
         {.blocks = {blocks_for(n, kThreads), 1, 1}, .threads = kThreads}, n, f);
}

template <class F>
void with_wide_type(DType dtype, const F& f) {
  if (dtype == DType::f64) return f(std::type_identity<double>{});
  f(std::type_identity<float>{});
}

// Calls f with the type of a tensor beside one of type V; V where there is none.
template <class V, class F>
void with_type_beside(const Tensor& tensor, const F& f) {
  if (tensor && tensor.dtype() == DType::bf16) return f(std::type_identity<bfloat16>{});
  f(std::type_identity<V>{});
}

template <class T>
T* begin_of(const Tensor& tensor) {
  return tensor ? tensor.data<T>() : nullptr;
}

template <class V>
struct Momentum {
  V mu, scale;
  V* gradient;
  V* momentum;
  __device__ void operator()(std::int64_t i) const {
    const V g = scale * gradient[i];
    const V sum = mu * momentum[i] + g;
    momentum[i] = sum;
    gradient[i] = g + mu * sum;
  }
};

template <class V, class T>
struct ScaleByNorm {
  double scale, eps;
  const double* squares;
  const V* x;
  T* y;
  __device__ void operator()(std::int64_t i) const {
    const auto factor = static_cast<V>(scale / (std::sqrt(*squares) + eps));
    y[i] = static_cast<T>(factor * x[i]);
  }
};

template <class V, class X, class T>
struct ApplyDirection {
  V keep, step;
  const X* x;
  V* master;
  T* copy;
  __device__ void operator()(std::int64_t i) const {
    const V next = keep * master[i] - step * static_cast<V>(widen(x[i]));
    master[i] = next;
    if (copy != nullptr) copy[i] = static_cast<T>(next);
  }
};

template <class V, class T>
struct ScaleRows {
  const V* factors;
  std::int64_t row_length, offset;
  V* master;
  T* copy;
  __device__ void operator()(std::int64_t i) const {
    const V factor = factors[(offset + i) / row_length];
    if (factor == 1) return;
    const V next = factor * master[i];
    master[i] = next;
    if (copy != nullptr) copy[i] = static_cast<T>(next);
  }
};

}  // namespace

void momentum_update(const Context& context, double mu, double gradient_scale,
                     const Tensor& gradient, const Tensor& momentum) {
  with_wide_type(gradient.dtype(), [&]<class V>(std::type_identity<V>) {
    for_each_element(context, "momentum_update", gradient.elements(),
                     Momentum<V>{static_cast<V>(mu), static_cast<V>(gradient_scale),
                                 gradient.data<V>(), momentum.data<V>()});
  });
}

void scale_by_norm(const Context& context, double scale, const Tensor& x, const Tensor& squares,
                   double eps, const Tensor& y) {
  with_wide_type(x.dtype(), [&]<class V>(std::type_identity<V>) {
    with_type_beside<V>(y, [&]<class T>(std::type_identity<T>) {
      for_each_element(
          context, "scale_by_norm", x.elements(),
          ScaleByNorm<V, T>{scale, eps, squares.data<double>(), x.data<V>(), y.data<T>()});
    });
  });
}

void apply_direction(const Context& context, double decay, double step, const Tensor& x,
                     const Tensor& master, const Tensor& copy) {
  with_wide_type(master.dtype(), [&]<class V>(std::type_identity<V>) {
    with_type_beside<V>(x, [&]<class X>(std::type_identity<X>) {
      with_type_beside<V>(copy, [&]<class T>(std::type_identity<T>) {
        for_each_element(context, "apply_direction", master.elements(),
                         ApplyDirection<V, X, T>{static_cast<V>(1 - decay), static_cast<V>(step),
                                                 x.data<X>(), master.data<V>(), begin_of<T>(copy)});
      });
    });
  });
}

void scale_rows(const Context& context, const Tensor& factors, std::int64_t row_length,
                std::int64_t offset, const Tensor& master, const Tensor& copy) {
  with_wide_type(master.dtype(), [&]<class V>(std::type_identity<V>) {
    with_type_beside<V>(copy, [&]<class T>(std::type_identity<T>) {
      for_each_element(context, "scale_rows", master.elements(),
                       ScaleRows<V, T>{factors.data<V>(), row_length, offset, master.data<V>(),
                                       begin_of<T>(copy)});
    });
  });
}

}  // namespace gda::cuda
