#include "numbers.cuh"
#include "ops/backend.h"

namespace gda::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kMaxGridRows = 65535;

// f(row, column of the pack) for every pack of a matrix.
template <class F>
__global__ void __launch_bounds__(kThreads) each_pack(std::int64_t rows, std::int64_t packs, F f) {
  const std::int64_t pack = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (pack >= packs) return;
  for (std::int64_t row = blockIdx.y; row < rows; row += gridDim.y) f(row, pack);
}

template <class F>
void for_each_pack(const Context& context, const char* name, std::int64_t rows, std::int64_t packs,
                   F f) {
  if (rows == 0 || packs == 0) return;
  const auto grid_rows = static_cast<unsigned>(std::min<std::int64_t>(rows, kMaxGridRows));
  launch(context, name, each_pack<F>,
         {.blocks = {blocks_for(packs, kThreads), grid_rows, 1}, .threads = kThreads}, rows, packs,
         f);
}

// A tensor as a matrix: contiguous ones as a single row, so that packs need not end with its rows.
struct Matrix {
  Matrix(const Tensor& x, bool as_rows)
      : rows(as_rows && x.dim(0) > 0 ? x.dim(0) : 1), columns(x.elements() / rows) {}
  std::int64_t rows;
  std::int64_t columns;
};

Tensor as_one_row(const Tensor& x) {
  return x.reshape({1, x.elements()});
}

template <class T, int kWidth>
struct Zero {
  Rows<T> x;
  __device__ void operator()(std::int64_t row, std::int64_t i) const {
    reinterpret_cast<Pack<T, kWidth>*>(x[row])[i] = Pack<T, kWidth>{};
  }
};

template <class From, class To>
struct Convert {
  Rows<From> from;
  Rows<To> to;
  __device__ void operator()(std::int64_t row, std::int64_t i) const {
    // bf16 is only made from, and turned into, f32.
    using Middle = std::conditional_t<std::is_same_v<To, bfloat16>, float, To>;
    to[row][i] = static_cast<To>(static_cast<Middle>(widen(from[row][i])));
  }
};

// y = a x + b y.
template <class T, int kWidth>
struct Axpby {
  accumulate_t<T> a, b;
  const T* x;
  T* y;
  __device__ void operator()(std::int64_t /*row*/, std::int64_t i) const {
    const auto from = reinterpret_cast<const Pack<T, kWidth>*>(x)[i];
    auto to = reinterpret_cast<const Pack<T, kWidth>*>(y)[i];
    for (int k = 0; k < kWidth; ++k) {
      to.value[k] = static_cast<T>(a * widen(from.value[k]) + b * widen(to.value[k]));
    }
    reinterpret_cast<Pack<T, kWidth>*>(y)[i] = to;
  }
};

// y += x where rows have a stride.
template <class T, int kWidth>
struct AddRows {
  Rows<T> x, y;
  __device__ void operator()(std::int64_t row, std::int64_t i) const {
    const auto from = reinterpret_cast<const Pack<T, kWidth>*>(x[row])[i];
    auto* at = reinterpret_cast<Pack<T, kWidth>*>(y[row]) + i;
    auto to = *at;
    for (int k = 0; k < kWidth; ++k) {
      to.value[k] = static_cast<T>(widen(from.value[k]) + widen(to.value[k]));
    }
    *at = to;
  }
};

// A thread takes the elements of one block of random numbers.
struct StochasticRound {
  static constexpr std::int64_t kBlock = 8;
  const float* from;
  bfloat16* to;
  std::int64_t elements;
  Philox random;
  std::uint64_t draw;
  std::int64_t offset;
  __device__ void operator()(std::int64_t /*row*/, std::int64_t block) const {
    const std::int64_t first = block * kBlock - offset % kBlock;
    const auto words =
        random.block((draw << 40) + static_cast<std::uint64_t>(offset / kBlock + block));
    for (int k = 0; k < kBlock; ++k) {
      const std::int64_t i = first + k;
      const auto noise = static_cast<std::uint16_t>(words[k / 2] >> (k % 2 * 16));
      if (i >= 0 && i < elements) to[i] = stochastically_rounded(from[i], noise);
    }
  }
};

template <class T, int kWidth>
struct ScaleColumns {
  Rows<T> x, y;
  const accumulate_t<T>* factor;
  __device__ void operator()(std::int64_t row, std::int64_t i) const {
    const auto from = reinterpret_cast<const Pack<T, kWidth>*>(x[row])[i];
    Pack<T, kWidth> to;
    for (int k = 0; k < kWidth; ++k) {
      to.value[k] = static_cast<T>(factor[i * kWidth + k] * widen(from.value[k]));
    }
    reinterpret_cast<Pack<T, kWidth>*>(y[row])[i] = to;
  }
};

// Blocks of the first pass of a sum. Their number is fixed, and so is the order of all additions.
constexpr unsigned kSumBlocks = 512;

template <class T>
__global__ void __launch_bounds__(kThreads)
    partial_sums_of_squares(const T* x, std::int64_t packs, std::int64_t elements,
                            double* partial) {
  using P = Pack<T, kPackWidth<T>>;
  const Shared<double> scratch = shared_memory<double>(0, kThreads / kWarp);
  double sum = 0;
  const auto add = [&](T x_i) {
    const auto value = static_cast<double>(x_i);
    sum += value * value;
  };
  const auto step = static_cast<std::int64_t>(gridDim.x) * kThreads;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  for (std::int64_t p = first; p < packs; p += step) {
    const P pack = reinterpret_cast<const P*>(x)[p];
    for (int k = 0; k < kPackWidth<T>; ++k) add(pack.value[k]);
  }
  for (std::int64_t i = packs * kPackWidth<T> + first; i < elements; i += step) add(x[i]);
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// One block.
__global__ void __launch_bounds__(kThreads)
    sum_of_partial_sums(const double* partial, unsigned count, double* total) {
  const Shared<double> scratch = shared_memory<double>(0, kThreads / kWarp);
  double sum = 0;
  for (unsigned i = threadIdx.x; i < count; i += kThreads) sum += partial[i];
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) *total = sum;
}

template <class T>
void axpby_of(const Context& context, const char* name, double a, const Tensor& x, double b,
              const Tensor& y) {
  with_pack_width<T>(in_packs(x.elements(), as_one_row(x), as_one_row(y)), [&](auto width) {
    constexpr int kWidth = decltype(width)::value;
    for_each_pack(context, name, 1, x.elements() / kWidth,
                  Axpby<T, kWidth>{static_cast<accumulate_t<T>>(a), static_cast<accumulate_t<T>>(b),
                                   x.data<T>(), y.data<T>()});
  });
}

}  // namespace

void fill_zero(const Context& context, const Tensor& x) {
  const Matrix matrix(x, !x.is_contiguous());
  const auto zero = [&]<class T>(std::type_identity<T>) {
    const bool packs = in_packs(matrix.columns, x.is_contiguous() ? as_one_row(x) : x);
    with_pack_width<T>(packs, [&](auto width) {
      constexpr int kWidth = decltype(width)::value;
      for_each_pack(context, "fill_zero", matrix.rows, matrix.columns / kWidth,
                    Zero<T, kWidth>{{static_cast<T*>(x.raw()), x.row_stride()}});
    });
  };
  // Zero bits are zero in every type.
  switch (size_of(x.dtype())) {
    case 8:
      return zero(std::type_identity<std::uint64_t>{});
    case 4:
      return zero(std::type_identity<std::uint32_t>{});
    default:
      return zero(std::type_identity<std::uint16_t>{});
  }
}

void convert(const Context& context, const Tensor& from, const Tensor& to) {
  const Matrix matrix(from, !from.is_contiguous() || !to.is_contiguous());
  ops::with_compute_type(from.dtype(), [&]<class From>(std::type_identity<From>) {
    ops::with_compute_type(to.dtype(), [&]<class To>(std::type_identity<To>) {
      for_each_pack(context, "convert", matrix.rows, matrix.columns,
                    Convert<From, To>{{from.data<From>(), from.row_stride()},
                                      {to.data<To>(), to.row_stride()}});
    });
  });
}

void add(const Context& context, const Tensor& x, const Tensor& y) {
  if (x.is_contiguous() && y.is_contiguous()) return cuda::axpby(context, 1, x, 1, y);
  const Matrix matrix(x, true);
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    with_pack_width<T>(in_packs(matrix.columns, x, y), [&](auto width) {
      constexpr int kWidth = decltype(width)::value;
      for_each_pack(context, "add", matrix.rows, matrix.columns / kWidth,
                    AddRows<T, kWidth>{rows_of<T>(x), rows_of<T>(y)});
    });
  });
}

void scale_columns(const Context& context, const Tensor& x, const Tensor& column, const Tensor& y) {
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    with_pack_width<T>(in_packs(x.dim(1), x, y), [&](auto width) {
      constexpr int kWidth = decltype(width)::value;
      for_each_pack(
          context, "scale_columns", x.dim(0), x.dim(1) / kWidth,
          ScaleColumns<T, kWidth>{rows_of<T>(x), rows_of<T>(y), column.data<accumulate_t<T>>()});
    });
  });
}

void stochastic_round(const Context& context, const Tensor& from, const Tensor& to,
                      const Philox& random, std::uint64_t draw, std::int64_t offset) {
  constexpr std::int64_t kBlock = StochasticRound::kBlock;
  const std::int64_t blocks = (offset % kBlock + from.elements() + kBlock - 1) / kBlock;
  for_each_pack(context, "stochastic_round", 1, from.elements() > 0 ? blocks : 0,
                StochasticRound{from.data<float>(), to.data<bfloat16>(), from.elements(), random,
                                draw, offset});
}

void axpby(const Context& context, double a, const Tensor& x, double b, const Tensor& y) {
  ops::with_compute_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    axpby_of<T>(context, "axpby", a, x, b, y);
  });
}

void sum_of_squares(const Context& context, const Tensor& x, const Tensor& sum) {
  if (x.elements() == 0) return cuda::fill_zero(context, sum);
  const ArenaScope scope(context.arena);
  const unsigned blocks = std::min(kSumBlocks, blocks_for(x.elements(), kThreads));
  double* partial = context.arena.allocate(DType::f64, {blocks}).data<double>();
  const Grid grid{.blocks = {blocks, 1, 1},
                  .threads = kThreads,
                  .shared_bytes = sizeof(double) * kThreads / kWarp};
  const auto add_up = [&]<class T>(std::type_identity<T>) {
    // Elements behind the last pack, or all of x where it begins on none, are taken one by one.
    const std::int64_t packs = begins_on_pack(x) ? x.elements() / kPackWidth<T> : 0;
    launch(context, "sum_of_squares", partial_sums_of_squares<T>, grid, x.data<T>(), packs,
           x.elements(), partial);
  };
  if (x.dtype() == DType::f64) {
    add_up(std::type_identity<double>{});
  } else {
    add_up(std::type_identity<float>{});
  }
  launch(context, "sum_of_squares", sum_of_partial_sums,
         {.blocks = {1, 1, 1}, .threads = kThreads, .shared_bytes = grid.shared_bytes}, partial,
         blocks, sum.data<double>());
}

}  // namespace gda::cuda
