#include <cmath>

#include "ops/backend.h"
#include "ops/dispatch.h"
#include "parallel.h"

namespace gda::cpu {
namespace {

// Elements of a piece: three arrays of it stay in the second-level cache.
constexpr std::int64_t kPiece = 8192;

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

template <class V, class T>
V widen(T value) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return static_cast<float>(value);
  } else {
    return value;
  }
}

}  // namespace

void momentum_update(const Context&, double mu, double gradient_scale, const Tensor& gradient,
                     const Tensor& momentum) {
  with_wide_type(gradient.dtype(), [&]<class V>(std::type_identity<V>) {
    const auto m = static_cast<V>(mu);
    const auto scale = static_cast<V>(gradient_scale);
    V* __restrict g = gradient.data<V>();
    V* __restrict buffer = momentum.data<V>();
    parallel_pieces(gradient.elements(), kPiece, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const V scaled = scale * g[i];
        buffer[i] = m * buffer[i] + scaled;
        g[i] = scaled + m * buffer[i];
      }
    });
  });
}

void scale_by_norm(const Context&, double scale, const Tensor& x, const Tensor& squares, double eps,
                   const Tensor& y) {
  const double factor = scale / (std::sqrt(*squares.data<double>()) + eps);
  with_wide_type(x.dtype(), [&]<class V>(std::type_identity<V>) {
    with_type_beside<V>(y, [&]<class T>(std::type_identity<T>) {
      const auto f = static_cast<V>(factor);
      const V* from = x.data<V>();
      T* to = y.data<T>();
      parallel_pieces(x.elements(), kPiece, [=](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) to[i] = static_cast<T>(f * from[i]);
      });
    });
  });
}

void apply_direction(const Context&, double decay, double step, const Tensor& x,
                     const Tensor& master, const Tensor& copy) {
  with_wide_type(master.dtype(), [&]<class V>(std::type_identity<V>) {
    with_type_beside<V>(x, [&]<class X>(std::type_identity<X>) {
      with_type_beside<V>(copy, [&]<class T>(std::type_identity<T>) {
        const auto keep = static_cast<V>(1 - decay);
        const auto size = static_cast<V>(step);
        const X* direction = x.data<X>();
        V* to = master.data<V>();
        T* rounded = begin_of<T>(copy);
        parallel_pieces(master.elements(), kPiece, [=](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            to[i] = keep * to[i] - size * widen<V>(direction[i]);
          }
          for (std::int64_t i = begin; rounded != nullptr && i < end; ++i) {
            rounded[i] = static_cast<T>(to[i]);
          }
        });
      });
    });
  });
}

void scale_rows(const Context&, const Tensor& factors, std::int64_t row_length, std::int64_t offset,
                const Tensor& master, const Tensor& copy) {
  with_wide_type(master.dtype(), [&]<class V>(std::type_identity<V>) {
    with_type_beside<V>(copy, [&]<class T>(std::type_identity<T>) {
      const V* factor = factors.data<V>();
      V* to = master.data<V>();
      T* rounded = begin_of<T>(copy);
      parallel_pieces(master.elements(), kPiece, [=](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const V f = factor[(offset + i) / row_length];
          if (f == 1) continue;
          to[i] *= f;
          if (rounded != nullptr) rounded[i] = static_cast<T>(to[i]);
        }
      });
    });
  });
}

}  // namespace gda::cpu
