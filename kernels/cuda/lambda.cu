#include "numbers.cuh"
#include "ops/differential_kernels.h"

namespace gda::cuda {
namespace {

// Of the four vectors and of their gradients, in the order q1, k1, q2, k2.
template <class V>
struct Vectors {
  V* at[4];
};

template <class V>
Vectors<V> vectors_of(const LambdaVectors& vectors) {
  const auto data = [](const Tensor& tensor) { return tensor ? tensor.data<V>() : nullptr; };
  return {{data(vectors.q1), data(vectors.k1), data(vectors.q2), data(vectors.k2)}};
}

// exp <a, b>, of a warp. In f64: the vectors are short, and an error here moves every head.
template <class V>
__device__ double exp_dot(const V* a, const V* b, int n) {
  double dot = 0;
  for (int j = static_cast<int>(threadIdx.x); j < n; j += kWarp) {
    dot += static_cast<double>(a[j]) * static_cast<double>(b[j]);
  }
  return std::exp(warp_sum(dot));
}

template <class V>
__global__ void __launch_bounds__(kWarp)
    forward(Vectors<V> vectors, int n, double lambda_init, V* lambda) {
  const double first = exp_dot(vectors.at[0], vectors.at[1], n);
  const double second = exp_dot(vectors.at[2], vectors.at[3], n);
  if (threadIdx.x == 0) *lambda = static_cast<V>(first - second + lambda_init);
}

template <class V>
__global__ void __launch_bounds__(kWarp)
    backward(Vectors<V> vectors, int n, const V* dlambda, Vectors<V> gradients) {
  for (int pair = 0; pair < 4; pair += 2) {
    const V* a = vectors.at[pair];
    const V* b = vectors.at[pair + 1];
    V* da = gradients.at[pair];
    V* db = gradients.at[pair + 1];
    const double factor = (pair == 0 ? 1 : -1) * static_cast<double>(*dlambda) * exp_dot(a, b, n);
    for (int j = static_cast<int>(threadIdx.x); j < n; j += kWarp) {
      if (da != nullptr) da[j] += static_cast<V>(factor * static_cast<double>(b[j]));
      if (db != nullptr) db[j] += static_cast<V>(factor * static_cast<double>(a[j]));
    }
  }
}

template <class F>
void with_accumulate_type(DType dtype, F&& f) {
  if (dtype == DType::f64) {
    f(std::type_identity<double>{});
  } else {
    f(std::type_identity<float>{});
  }
}

}  // namespace

void lambda_forward(const Context& context, const LambdaVectors& vectors, double lambda_init,
                    const Tensor& lambda) {
  with_accumulate_type(lambda.dtype(), [&]<class V>(std::type_identity<V>) {
    launch(context, "lambda_forward", forward<V>, {.blocks = {1, 1, 1}, .threads = kWarp},
           vectors_of<V>(vectors), static_cast<int>(vectors.q1.elements()), lambda_init,
           lambda.data<V>());
  });
}

void lambda_backward(const Context& context, const LambdaVectors& vectors, const Tensor& dlambda,
                     const LambdaVectors& dvectors) {
  with_accumulate_type(dlambda.dtype(), [&]<class V>(std::type_identity<V>) {
    launch(context, "lambda_backward", backward<V>, {.blocks = {1, 1, 1}, .threads = kWarp},
           vectors_of<V>(vectors), static_cast<int>(vectors.q1.elements()), dlambda.data<V>(),
           vectors_of<V>(dvectors));
  });
}

}  // namespace gda::cuda
