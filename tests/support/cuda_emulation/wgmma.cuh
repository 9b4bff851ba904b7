// What kernels/cuda/native/wgmma.cuh does by PTX instructions, from their documented semantics
// (PTX ISA 8: wgmma.mma_async, its fragments and its matrices in shared memory with 128 bytes'
// swizzle, K-major for rows and MN-major for columns).
//
// A product is finished at the wait that covers it. Until then its sums are NaN, and shared memory
// that it reads may not change. Copies into shared memory that nobody fenced are a fault.
#pragma once

#include <map>
#include <memory>

#include "ptx.cuh"

namespace gda::cuda {

struct SwizzledMatrix {
  const bfloat16* start;
  int block_bytes;

  SwizzledMatrix(const bfloat16* first, int bytes_of_a_block)
      : start(first), block_bytes(bytes_of_a_block) {}

  SwizzledMatrix moved(int bytes) const { return {start + bytes / 2, block_bytes}; }
};

inline void fence_shared_for_products() {
  emulation::fence_copies();
}
inline void begin_products() {
  emulation::meet_with("wgmma.fence", 0xffffffffU, 0);
}
inline void end_products() {
  emulation::end_product_group();
}
template <int kGroupsLeft, class... Sums>
void wait_for_products(Sums&... /*c*/) {
  emulation::meet_with("wgmma.wait_group", 0xffffffffU, 0);
  emulation::wait_for_product_groups(kGroupsLeft);
}

namespace detail {

constexpr int kDepth = 16;

// kCount elements that lie `bytes` behind a matrix's start but for the swizzle, which is one of
// addresses and leaves eight neighbours together.
template <int kCount>
std::array<float, kCount> swizzled(const SwizzledMatrix& matrix, std::ptrdiff_t bytes) {
  using namespace emulation;
  std::ptrdiff_t at = reinterpret_cast<const std::byte*>(matrix.start) - shared_begin() + bytes;
  at ^= (at >> 7 & 7) << 4;
  std::array<bfloat16, kCount> elements;
  require<Fault>(at >= 0 && at + static_cast<std::ptrdiff_t>(sizeof elements) <=
                                static_cast<std::ptrdiff_t>(shared_bytes()),
                 "wgmma: byte {} of {} of shared memory", at, shared_bytes());
  std::memcpy(elements.data(), shared_begin() + at, sizeof elements);
  std::array<float, kCount> values;
  std::transform(elements.begin(), elements.end(), values.begin(),
                 [](bfloat16 element) { return static_cast<float>(element); });
  return values;
}

inline void read_row(const SwizzledMatrix& matrix, int row, float (&to)[kDepth]) {
  for (int k = 0; k < kDepth; k += 8) {
    const auto part = swizzled<8>(matrix, row / 8 * 1024 + row % 8 * 128 + k * 2);
    std::copy(part.begin(), part.end(), to + k);
  }
}

// What a thread multiplies: its two rows of A and its columns of B.
template <int kColumns>
struct Operands {
  float a[2][kDepth];
  float b[2 * kColumns][kDepth];

  void read_b(const SwizzledMatrix& matrix, bool by_rows) {
    for (int n = 0; n < kColumns; ++n) {
      const int column = 8 * n + emulation::lane() % 4 * 2;
      if (by_rows) {
        read_row(matrix, column, b[2 * n]);
        read_row(matrix, column + 1, b[2 * n + 1]);
        continue;
      }
      for (int k = 0; k < kDepth; ++k) {
        const auto pair =
            swizzled<2>(matrix, static_cast<std::ptrdiff_t>(column / 64) * matrix.block_bytes +
                                    k / 8 * 1024 + k % 8 * 128 + column % 64 * 2);
        b[2 * n][k] = pair[0];
        b[2 * n + 1][k] = pair[1];
      }
    }
  }
};

// Sums with products under way: what they will be. The thread's own are NaN until then.
template <int kColumns>
struct HiddenSums {
  float value[kColumns][4];
  int products = 0;
};

template <int kColumns>
std::shared_ptr<HiddenSums<kColumns>> hide(float (&c)[kColumns][4]) {
  static thread_local std::map<const void*, std::weak_ptr<HiddenSums<kColumns>>> all;
  std::shared_ptr<HiddenSums<kColumns>> hidden = all[c].lock();
  if (hidden == nullptr) {
    all[c] = hidden = std::make_shared<HiddenSums<kColumns>>();
    std::memcpy(hidden->value, c, sizeof c);
    for (auto& column : c) std::fill(std::begin(column), std::end(column), NAN);
  }
  ++hidden->products;
  return hidden;
}

// c (+)= A B. `read` gives the operands as they are when it is called.
template <int kColumns, class Read>
void multiply_async(float (&c)[kColumns][4], bool add, const Read& read) {
  emulation::require_fenced_copies("wgmma");
  const auto hidden = hide(c);
  emulation::product_later([&c, add, hidden, read, before = read()] {
    const std::shared_ptr<Operands<kColumns>> operands = read();
    require<emulation::Fault>(std::memcmp(operands.get(), before.get(), sizeof *operands) == 0,
                              "wgmma: an operand changed while it was read");
    for (int n = 0; n < kColumns; ++n) {
      for (int i = 0; i < 4; ++i) {
        float sum = add ? hidden->value[n][i] : 0;
        const float* a = operands->a[i / 2];
        const float* b = operands->b[2 * n + i % 2];
        for (int k = 0; k < kDepth; ++k) sum += a[k] * b[k];
        hidden->value[n][i] = sum;
      }
    }
    if (--hidden->products == 0) std::memcpy(c, hidden->value, sizeof c);
  });
}

}  // namespace detail

// c = A B^T, or c += A B^T; A [64, 16], B [8 kColumns, 16], rows in shared memory.
template <int kColumns>
void multiply_rows_async(float (&c)[kColumns][4], SwizzledMatrix a, SwizzledMatrix b, bool add) {
  emulation::meet_with("wgmma.mma_async", 0xffffffffU, 0);
  detail::multiply_async(c, add, [a, b] {
    auto read = std::make_shared<detail::Operands<kColumns>>();
    const int row = static_cast<int>(threadIdx.x) / 32 % 4 * 16 + emulation::lane() / 4;
    for (int half = 0; half < 2; ++half) detail::read_row(a, row + 8 * half, read->a[half]);
    read->read_b(b, true);
    return read;
  });
}

// c += A B; A [64, 16] as mma_m16n8k16 has it for each warp, B [16, 8 kColumns] in shared memory.
template <int kColumns>
void multiply_columns_async(float (&c)[kColumns][4], const std::uint32_t (&a)[4],
                            SwizzledMatrix b) {
  using namespace emulation;
  const detail::MmaOperands mine{{a[0], a[1], a[2], a[3]}, {}};
  const Deposit* all = meet_with("wgmma.mma_async", 0xffffffffU, mine);
  std::array<std::array<float, detail::kDepth>, 2> rows{};
  for (int half = 0; half < 2; ++half) {
    for (int k = 0; k < detail::kDepth; ++k) {
      rows[half][k] = detail::mma_a(all, lane() / 4 + 8 * half, k);
    }
  }
  detail::multiply_async(c, true, [rows, b] {
    auto read = std::make_shared<detail::Operands<kColumns>>();
    std::memcpy(read->a, rows.data(), sizeof rows);
    read->read_b(b, false);
    return read;
  });
}

}  // namespace gda::cuda
