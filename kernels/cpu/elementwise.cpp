#include <array>
#include <cstring>
#include <numeric>
#include <vector>

#include "ops/backend.h"
#include "ops/dispatch.h"
#include "parallel.h"

namespace gda::cpu {
namespace {

// Elements of one piece of a flat pass: fits the first-level cache, and is long enough that
// handing out pieces costs nothing.
constexpr std::int64_t kPiece = 4096;

// Calls f(row, begin, end): pieces of the columns of each row. A contiguous tensor is one row.
template <class F>
void for_each_piece(const Tensor& x, bool as_rows, const F& f) {
  if (x.elements() == 0) return;
  const std::int64_t rows = as_rows ? x.dim(0) : 1;
  const std::int64_t columns = x.elements() / rows;
  const std::int64_t a_row = (columns + kPiece - 1) / kPiece;
  parallel_pieces(rows * a_row, 1, [&](std::int64_t piece, std::int64_t) {
    const std::int64_t begin = piece % a_row * kPiece;
    f(piece / a_row, begin, std::min(begin + kPiece, columns));
  });
}

// The sum of squares of one piece in f64: eight partial sums, so that the loop becomes vector code.
template <class T>
double piece_of_squares(const T* x, std::int64_t count) {
  constexpr std::int64_t kLanes = 8;
  std::array<double, kLanes> sums{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const auto value = static_cast<double>(x[i + lane]);
      sums[lane] += value * value;
    }
  }
  double sum = 0;
  for (; i < count; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  for (const double lane : sums) sum += lane;
  return sum;
}

}  // namespace

void fill_zero(const Context&, const Tensor& x) {
  const std::size_t size = size_of(x.dtype());
  auto* bytes = static_cast<std::byte*>(x.raw());
  for_each_piece(
      x, !x.is_contiguous(), [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
        const auto offset = static_cast<std::size_t>(row * x.row_stride() + begin);
        std::memset(bytes + offset * size, 0, static_cast<std::size_t>(end - begin) * size);
      });
}

void convert(const Context&, const Tensor& from, const Tensor& to) {
  const bool as_rows = !from.is_contiguous() || !to.is_contiguous();
  ops::with_compute_type(from.dtype(), [&]<class From>(std::type_identity<From>) {
    ops::with_compute_type(to.dtype(), [&]<class To>(std::type_identity<To>) {
      // bf16 is only made from, and turned into, f32.
      using Middle = std::conditional_t<std::is_same_v<To, bfloat16>, float, To>;
      using First = std::conditional_t<std::is_same_v<From, bfloat16>, float, Middle>;
      for_each_piece(from, as_rows, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
        const From* source = from.data<From>() + row * from.row_stride();
        To* target = to.data<To>() + row * to.row_stride();
        for (std::int64_t i = begin; i < end; ++i) {
          target[i] = static_cast<To>(static_cast<Middle>(static_cast<First>(source[i])));
        }
      });
    });
  });
}

void add(const Context&, const Tensor& x, const Tensor& y) {
  const bool as_rows = !x.is_contiguous() || !y.is_contiguous();
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    using Sum = accumulate_t<T>;
    for_each_piece(x, as_rows, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
      const T* from = x.data<T>() + row * x.row_stride();
      T* to = y.data<T>() + row * y.row_stride();
      for (std::int64_t i = begin; i < end; ++i) {
        to[i] = static_cast<T>(static_cast<Sum>(to[i]) + static_cast<Sum>(from[i]));
      }
    });
  });
}

void scale_columns(const Context&, const Tensor& x, const Tensor& column, const Tensor& y) {
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    using Product = accumulate_t<T>;
    const auto* factor = column.data<Product>();
    for_each_piece(x, true, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
      const T* from = x.data<T>() + row * x.row_stride();
      T* to = y.data<T>() + row * y.row_stride();
      for (std::int64_t j = begin; j < end; ++j) {
        to[j] = static_cast<T>(factor[j] * static_cast<Product>(from[j]));
      }
    });
  });
}

void stochastic_round(const Context&, const Tensor& from, const Tensor& to, const Philox& random,
                      std::uint64_t draw, std::int64_t offset) {
  for_each_piece(from, false, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      to.data<bfloat16>()[i] = stochastically_rounded(
          from.data<float>()[i], random.half_word(draw, static_cast<std::uint64_t>(offset + i)));
    }
  });
}

void axpby(const Context&, double a, const Tensor& x, double b, const Tensor& y) {
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    using Sum = accumulate_t<T>;
    const auto of_x = static_cast<Sum>(a);
    const auto of_y = static_cast<Sum>(b);
    for_each_piece(x, false, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      const T* from = x.data<T>();
      T* to = y.data<T>();
      for (std::int64_t i = begin; i < end; ++i) {
        to[i] = static_cast<T>(of_x * static_cast<Sum>(from[i]) + of_y * static_cast<Sum>(to[i]));
      }
    });
  });
}

void sum_of_squares(const Context&, const Tensor& x, const Tensor& sum) {
  std::vector<double> pieces(static_cast<std::size_t>((x.elements() + kPiece - 1) / kPiece));
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (!std::is_same_v<T, bfloat16>) {
      for_each_piece(x, false, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        pieces[static_cast<std::size_t>(begin / kPiece)] =
            piece_of_squares(x.data<T>() + begin, end - begin);
      });
    }
  });
  *sum.data<double>() = std::accumulate(pieces.begin(), pieces.end(), 0.0);
}

}  // namespace gda::cpu
